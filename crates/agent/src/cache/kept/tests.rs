use domains::kv::KvGet;

use super::*;

const LIFETIME: Duration = Duration::from_secs(72 * 3600);

/// Servers with one number for an answer, which is its index too; `None` while they are away.
#[derive(Clone)]
struct Servers {
    number: Arc<watch::Sender<Option<u64>>>,
    asked: Arc<Mutex<u64>>,
}

impl Source for Servers {
    fn read(
        &self,
        _query: Arc<dyn AnyQuery>,
        options: ReadOptions,
    ) -> BoxFuture<Result<Value, CallError>> {
        *self.asked.lock().unwrap() += 1;
        let mut number = self.number.subscribe();
        Box::pin(async move {
            let is_new = |number: &Option<u64>| number.is_none_or(|n| n > options.min_index.0);
            let wait = options.max_wait.unwrap_or_default();
            let newer = tokio::time::timeout(wait, number.wait_for(is_new)).await;
            drop(newer);
            let number = *number.borrow();
            let number = number.ok_or_else(|| CallError::failed("No known Consul servers"))?;
            let facts = ReadFacts { index: Index(number), ..ReadFacts::default() };
            Ok(Value { reply: Arc::new(number), facts, streamed: false })
        })
    }
}

struct Cache {
    servers: Servers,
    answers: KeptAnswers,
}

impl Cache {
    fn new(number: Option<u64>) -> Self {
        let number = Arc::new(watch::Sender::new(number));
        let servers = Servers { number, asked: Arc::default() };
        let answers = KeptAnswers::new(Arc::new(servers.clone()), Duration::from_secs(300));
        Self { servers, answers }
    }

    fn set(&self, number: Option<u64>) {
        self.servers.number.send_replace(number);
    }

    fn asked(&self) -> u64 {
        *self.servers.asked.lock().unwrap()
    }

    /// What is answered: `7 hit 0`, or the error.
    async fn get(&self, key: &str, options: ReadOptions) -> String {
        let query: Arc<dyn AnyQuery> = Arc::new(KvGet { key: key.into() });
        match self.answers.read(&query, &options, LIFETIME).await {
            Ok(Cached { value, hit, age }) => {
                let number = value.reply.downcast_ref::<u64>().unwrap();
                let hit = if hit { "hit" } else { "miss" };
                format!("{number} {hit} {}", age.as_secs())
            }
            Err(error) => error.text().to_owned(),
        }
    }

    async fn plain(&self) -> String {
        self.get("k", ReadOptions::default()).await
    }
}

fn at_most(max_age: u64, stale_if_error: Option<u64>) -> ReadOptions {
    ReadOptions {
        max_age: Some(Duration::from_secs(max_age)),
        stale_if_error: stale_if_error.map(Duration::from_secs),
        ..ReadOptions::default()
    }
}

/// Lets the tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_fetched_once_and_then_follows_the_servers() {
    let cache = Cache::new(Some(1));
    assert_eq!(cache.plain().await, "1 miss 0");
    settle().await;
    let asked = cache.asked();
    for _ in 0..5 {
        assert_eq!(cache.plain().await, "1 hit 0");
    }
    assert_eq!(cache.asked(), asked, "the kept answer serves");
    cache.set(Some(2));
    settle().await;
    assert_eq!(cache.plain().await, "2 hit 0");
}

#[tokio::test(start_paused = true)]
async fn askers_of_different_questions_or_tokens_do_not_share() {
    let cache = Cache::new(Some(1));
    assert_eq!(cache.plain().await, "1 miss 0");
    assert_eq!(cache.get("other", ReadOptions::default()).await, "1 miss 0");
    let other = ReadOptions { token: "t".into(), ..ReadOptions::default() };
    assert_eq!(cache.get("k", other).await, "1 miss 0");
    assert_eq!(cache.answers.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_question_waits_for_the_kept_answer_to_change() {
    let cache = Cache::new(Some(5));
    assert_eq!(cache.plain().await, "5 miss 0");
    let blocking = || ReadOptions {
        min_index: Index(5),
        max_wait: Some(Duration::from_secs(30)),
        ..ReadOptions::default()
    };
    let (answer, ()) = tokio::join!(cache.get("k", blocking()), async {
        settle().await;
        cache.set(Some(6));
    });
    assert_eq!(answer, "6 miss 0");
    let begin = Instant::now();
    let later = ReadOptions { min_index: Index(6), ..blocking() };
    assert_eq!(cache.get("k", later).await, "6 hit 0");
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn while_the_servers_are_away_a_kept_answer_serves_as_old_as_the_asker_bears() {
    let cache = Cache::new(Some(3));
    assert_eq!(cache.plain().await, "3 miss 0");
    settle().await;
    cache.set(None);
    settle().await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!(cache.plain().await, "3 hit 100");
    assert_eq!(cache.get("k", at_most(200, None)).await, "3 hit 100");
    assert_eq!(cache.get("k", at_most(50, None)).await, "No known Consul servers");
    assert_eq!(cache.get("k", at_most(50, Some(60))).await, "No known Consul servers");
    assert_eq!(cache.get("k", at_most(50, Some(600))).await, "3 hit 100");
    cache.set(Some(4));
    assert_eq!(cache.get("k", at_most(50, None)).await, "4 miss 0");
    assert_eq!(cache.plain().await, "4 hit 0");
}

#[tokio::test(start_paused = true)]
async fn who_must_have_an_answer_of_this_moment_gets_one() {
    let cache = Cache::new(Some(3));
    assert_eq!(cache.plain().await, "3 miss 0");
    settle().await;
    let asked = cache.asked();
    assert_eq!(cache.get("k", at_most(0, None)).await, "3 miss 0");
    assert!(cache.asked() > asked);
}

#[tokio::test(start_paused = true)]
async fn a_first_answer_that_is_an_error_is_not_kept() {
    let cache = Cache::new(None);
    assert_eq!(cache.plain().await, "No known Consul servers");
    settle().await;
    assert_eq!(cache.answers.len(), 0);
    cache.set(Some(1));
    assert_eq!(cache.plain().await, "1 miss 0");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wants_goes_and_what_is_wanted_stays() {
    let cache = Cache::new(Some(1));
    cache.plain().await;
    cache.get("other", ReadOptions::default()).await;
    sleep(LIFETIME / 2).await;
    assert_eq!(cache.plain().await, "1 hit 0");
    sleep(LIFETIME / 2 + Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(cache.answers.len(), 1);
    assert_eq!(cache.plain().await, "1 hit 0");
}

#[test]
fn waits_after_failures_are_bounded() {
    assert!(wait_after(1) <= RETRY_MIN && wait_after(1) >= RETRY_MIN / 2);
    assert!(wait_after(u32::MAX) <= RETRY_MAX && wait_after(40) >= RETRY_MAX / 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_changes_all_the_time_is_fetched_as_often_as_the_rate_says() {
    let cache = Cache::new(Some(1));
    cache.answers.set_fetch_rate(FetchRate { per_second: Some(1.0), burst: 2 });
    assert_eq!(cache.plain().await, "1 miss 0");
    for number in 2..=100 {
        sleep(Duration::from_millis(100)).await;
        cache.set(Some(number));
    }
    // Two at once, and one more each second.
    assert!((10..=13).contains(&cache.asked()), "{}", cache.asked());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cache.plain().await, "100 hit 0");
}
