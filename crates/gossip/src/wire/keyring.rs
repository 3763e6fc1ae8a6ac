//! Keys of a gossip pool (`reference/gossip-wire.md` section 5).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Keys that a ring may hold. serf's answers about keys show 40; far more are a mistake.
pub const KEYS_MAX: usize = 1024;

/// A secret key of 16, 24 or 32 bytes. Its `Debug` does not show it; it is compared in
/// constant time; cloning shares it.
#[derive(Clone)]
pub struct Key(Arc<Secret>);

struct Secret {
    bytes: Box<[u8]>,
    cipher: LessSafeKey,
}

/// Why bytes are no key. None of the texts shows them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another length than AES has.
    #[error("key size must be 16, 24 or 32 bytes")]
    Length(usize),
    /// Text that is not standard base64.
    #[error("the key is not standard base64 text")]
    Base64,
}

/// Why a ring was not changed. The texts are memberlist's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Only installed keys can be made primary.
    #[error("Requested key is not in the keyring")]
    NotInstalled,
    /// Another key must be made primary first.
    #[error("Removing the primary key is not allowed")]
    Primary,
    /// There are [`KEYS_MAX`] keys.
    #[error("The keyring holds {KEYS_MAX} keys, which is the most: remove some first")]
    Full,
}

impl Key {
    /// A key of its bytes.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match bytes.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            length => return Err(KeyError::Length(length)),
        };
        let unbound =
            UnboundKey::new(algorithm, bytes).map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self(Arc::new(Secret { bytes: bytes.into(), cipher: LessSafeKey::new(unbound) })))
    }

    /// A key of its text in `encrypt`, keyring files and answers about keys.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::new(&STANDARD.decode(text).map_err(|_| KeyError::Base64)?)
    }

    /// The secret itself, for messages that install it elsewhere.
    pub fn expose(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The secret itself, as the text that [`Key::from_base64`] reads.
    pub fn expose_base64(&self) -> String {
        STANDARD.encode(&self.0.bytes)
    }

    pub(super) fn cipher(&self) -> &LessSafeKey {
        &self.0.cipher
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0.bytes, &other.0.bytes).is_ok()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(of {} bytes)", self.0.bytes.len())
    }
}

/// The keys that messages are tried with. The first, the primary one, encrypts. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring of one key.
    pub fn new(primary: Key) -> Self {
        Self { keys: vec![primary] }
    }

    /// A ring of keys, primary first. `None` if there are none or more than [`KEYS_MAX`].
    /// Later copies of a key are left out.
    pub fn from_keys(keys: impl IntoIterator<Item = Key>) -> Option<Self> {
        let mut ring: Option<Keyring> = None;
        for key in keys {
            match &mut ring {
                None => ring = Some(Self::new(key)),
                Some(ring) => ring.install(key).ok()?,
            }
        }
        ring
    }

    /// The key that encrypts.
    pub fn primary(&self) -> &Key {
        &self.keys[0]
    }

    /// All keys, primary first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Adds a key at the end. One that is there stays where it is.
    ///
    /// # Errors
    /// [`KeyringError::Full`].
    pub fn install(&mut self, key: Key) -> Result<(), KeyringError> {
        if self.keys.contains(&key) {
            return Ok(());
        }
        if self.keys.len() == KEYS_MAX {
            return Err(KeyringError::Full);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Makes an installed key the primary one.
    ///
    /// # Errors
    /// [`KeyringError::NotInstalled`].
    pub fn use_key(&mut self, key: &Key) -> Result<(), KeyringError> {
        let place = self.keys.iter().position(|own| own == key);
        let place = place.ok_or(KeyringError::NotInstalled)?;
        self.keys[..=place].rotate_right(1);
        Ok(())
    }

    /// Removes a key. One that is not there is removed already.
    ///
    /// # Errors
    /// [`KeyringError::Primary`].
    pub fn remove(&mut self, key: &Key) -> Result<(), KeyringError> {
        if self.primary() == key {
            return Err(KeyringError::Primary);
        }
        self.keys.retain(|own| own != key);
        Ok(())
    }

    /// Tries the keys in their order.
    pub(super) fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(16)?)?;
        let mut plain = vec![0; text.len()];
        let opened = self.keys.iter().any(|key| {
            let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
            key.cipher().open_separate_gather(nonce, Aad::from(aad), text, tag, &mut plain).is_ok()
        });
        opened.then_some(plain)
    }
}
