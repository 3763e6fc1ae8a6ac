//! What can be subscribed to.

use std::sync::Arc;

use contract::AnyQuery;
use domains::catalog::{CatalogServices, InstanceSelection};
use domains::health::HealthService;
use grpc::Status;
use grpc::messages::subscribe_request::Subject as Named;
use grpc::messages::{SubscribeRequest, Topic};

/// What somebody subscribes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The instances of a service with their nodes and checks.
    Health {
        /// The service, in lower case.
        service: String,
        /// Whether it is what is reached as this service through the mesh.
        connect: bool,
        /// The cluster peer that it was imported from; empty for none.
        peer: String,
    },
    /// The names of all services.
    Services,
}

impl Subject {
    /// What a request is for.
    ///
    /// # Errors
    /// It is for nothing, or for something that there is not.
    pub(crate) fn of_request(request: &SubscribeRequest) -> Result<Self, Status> {
        let topic = request.topic();
        if topic == Topic::Unknown {
            return Err(Status::invalid_argument(format!("unknown topic {}", request.topic)));
        }
        let none = String::new();
        let (wildcard, [key, namespace, partition, peer]) = match &request.subject {
            Some(Named::WildcardSubject(all)) => (*all, [&none; 4]),
            Some(Named::NamedSubject(named)) => {
                (false, [&named.key, &named.namespace, &named.partition, &named.peer_name])
            }
            // As agents of before 1.13 say it.
            None => {
                (false, [&request.key, &request.namespace, &request.partition, &request.peer_name])
            }
        };
        if !wildcard && key.is_empty() {
            let text = "either WildcardSubject or NamedSubject.Key is required";
            return Err(Status::invalid_argument(text));
        }
        for (what, name) in [("namespace", namespace), ("partition", partition)] {
            if !name.is_empty() && name != "default" {
                let text = format!("{what} {name:?}: a Consul Enterprise feature");
                return Err(Status::invalid_argument(text));
            }
        }
        let name = topic.as_str_name();
        match topic {
            Topic::ServiceHealth | Topic::ServiceHealthConnect if wildcard => Err(Status::unknown(
                format!("topic {name} does not support wildcard subscriptions"),
            )),
            Topic::ServiceHealth | Topic::ServiceHealthConnect => Ok(Self::Health {
                service: key.to_lowercase(),
                connect: topic == Topic::ServiceHealthConnect,
                peer: peer.clone(),
            }),
            Topic::ServiceList if wildcard => Ok(Self::Services),
            Topic::ServiceList => Err(Status::invalid_argument(format!(
                "topic {name} can only be consumed using WildcardSubject"
            ))),
            _ => Err(Status::unimplemented(format!("topic {name} is not served by this version"))),
        }
    }

    /// The question whose answers are compared.
    pub(crate) fn query(&self) -> Arc<dyn AnyQuery> {
        match self {
            Self::Health { service, connect, peer } => Arc::new(HealthService {
                selection: InstanceSelection {
                    connect: *connect,
                    peer: peer.clone(),
                    ..InstanceSelection::of(service)
                },
                ..HealthService::default()
            }),
            Self::Services => Arc::new(CatalogServices::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use grpc::Code;
    use grpc::messages::NamedSubject;

    use super::*;

    fn subject(topic: Topic, subject: Option<Named>) -> Result<Subject, (Code, String)> {
        let request =
            SubscribeRequest { topic: topic.into(), subject, ..SubscribeRequest::default() };
        Subject::of_request(&request).map_err(|status| (status.code(), status.message().to_owned()))
    }

    fn named(key: &str) -> Option<Named> {
        Some(Named::NamedSubject(NamedSubject { key: key.into(), ..NamedSubject::default() }))
    }

    const ALL: Option<Named> = Some(Named::WildcardSubject(true));

    #[test]
    fn services_are_named_and_their_list_is_not() {
        let web = |connect| Subject::Health { service: "web".into(), connect, peer: String::new() };
        assert_eq!(subject(Topic::ServiceHealth, named("Web")), Ok(web(false)));
        assert_eq!(subject(Topic::ServiceHealthConnect, named("web")), Ok(web(true)));
        assert_eq!(subject(Topic::ServiceList, ALL), Ok(Subject::Services));
        let old = SubscribeRequest {
            topic: Topic::ServiceHealth.into(),
            key: "web".into(),
            ..SubscribeRequest::default()
        };
        assert_eq!(Subject::of_request(&old).ok(), Some(web(false)));
    }

    #[test]
    fn what_is_for_nothing_is_refused_in_consuls_words() {
        let required = "either WildcardSubject or NamedSubject.Key is required";
        for (topic, given, code, text) in [
            (
                Topic::ServiceHealth,
                ALL,
                Code::Unknown,
                "topic ServiceHealth does not support wildcard subscriptions",
            ),
            (
                Topic::ServiceList,
                named("web"),
                Code::InvalidArgument,
                "topic ServiceList can only be consumed using WildcardSubject",
            ),
            (Topic::ServiceHealth, named(""), Code::InvalidArgument, required),
            (Topic::ServiceList, None, Code::InvalidArgument, required),
            (
                Topic::ServiceList,
                Some(Named::WildcardSubject(false)),
                Code::InvalidArgument,
                required,
            ),
            (
                Topic::MeshConfig,
                ALL,
                Code::Unimplemented,
                "topic MeshConfig is not served by this version",
            ),
            (Topic::Unknown, ALL, Code::InvalidArgument, "unknown topic 0"),
        ] {
            assert_eq!(subject(topic, given), Err((code, text.to_owned())));
        }
        let elsewhere = SubscribeRequest {
            topic: Topic::ServiceHealth.into(),
            key: "web".into(),
            namespace: "team-a".into(),
            ..SubscribeRequest::default()
        };
        let refused = Subject::of_request(&elsewhere).map_err(|status| status.code());
        assert_eq!(refused, Err(Code::InvalidArgument));
        let beyond = SubscribeRequest { topic: 99, ..elsewhere };
        let refused = Subject::of_request(&beyond).map_err(|status| status.message().to_owned());
        assert_eq!(refused, Err("unknown topic 99".to_owned()));
    }
}
