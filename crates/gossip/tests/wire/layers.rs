//! Keys, encryption, labels, checksums, compression and compounds.

use gossip::wire::keyring::{Key, KeyError, Keyring, KeyringError};
use gossip::wire::lzw::{self, DecompressError};
use gossip::wire::packet::{self, EXPANDED_MAX, PacketError};
use gossip::wire::seal::{self, OpenError, SealVersion};
use gossip::wire::{MessageType, Security};
use proptest::prelude::*;

use crate::hex;

const NONCE: [u8; 12] = *b"nonce--nonce";
const PING: &[u8] = b"\x00\x82\xa4Node\xa1a\xa5SeqNo\x01";

fn key(byte: u8, length: usize) -> Key {
    Key::new(&vec![byte; length]).unwrap()
}

/// A pool with keys of 16 bytes, made of these bytes, and a label.
fn pool(keys: &[u8], label: &'static str) -> Security {
    Security {
        keyring: Keyring::from_keys(keys.iter().map(|byte| key(*byte, 16))),
        label: label.into(),
        ..Security::default()
    }
}

#[test]
fn what_go_encrypts_is_what_we_encrypt() {
    for (length, v1, v0) in [
        (
            16,
            "016e6f6e63652d2d6e6f6e6365c7182455cc22e003bf8e0d3228c48c4dd9f1a0fa535e0ad7502a5f428b61fd72",
            "006e6f6e63652d2d6e6f6e6365c7182455cc22e003bf8e0d3228c48c4d\
             424c3c0e47ea0f52b9d960ffd6e399b185d960a4bf13d0c64a0209a4de55f899",
        ),
        (
            24,
            "016e6f6e63652d2d6e6f6e6365634b79d9abd09954847b1d72593b66818c2f7496f87ffe8e1c055f7a08688b20",
            "006e6f6e63652d2d6e6f6e6365634b79d9abd09954847b1d72593b6681\
             2dcd041177e973c518ff4572acea568497173bdd87dbfe21856713531c06e703",
        ),
        (
            32,
            "016e6f6e63652d2d6e6f6e63651977b9f7fbaa69e4c09c5325f4fe363ec8ca6109e14a78f05893b85d3b3de537",
            "006e6f6e63652d2d6e6f6e63651977b9f7fbaa69e4c09c5325f4fe363e\
             3d1848ce5f92e38739005945dfdf426f5859a580c510c2921f7e03504a1e6b16",
        ),
    ] {
        let key = key(length, usize::from(length));
        let ring = Keyring::new(key.clone());
        for (version, aad, golden) in
            [(SealVersion::V1, &b"label"[..], v1), (SealVersion::V0, b"", v0)]
        {
            let golden = hex(golden);
            let mut sealed = Vec::new();
            seal::seal(&mut sealed, &key, version, NONCE, aad, PING);
            assert_eq!(sealed, golden, "{length} {version:?}");
            assert!(sealed.len() <= PING.len() + version.overhead());
            assert_eq!(seal::open(&ring, aad, &golden).as_deref(), Ok(PING));
            assert_eq!(seal::open(&ring, b"other", &golden), Err(OpenError::NoKey));
        }
    }
}

#[test]
fn go_s_compression_is_read() {
    let compressed = hex(
        "00ddbc2153a6050c1061d8a4b153668740822d622054c8d0e1c08234262e6cf8b0600e8d153b46b40192e3c516326a94b4\
         087106c9841b5962fc0833e4491b196b9a848843a24e9911611cfc2932860c9f1477168c41236752a0316cd07c5a34c74b\
         aa2765a45c2932e5d5985d714c057b72860ca7645bda409a16a350ae279bb2b50991060eb4740bd69031366f8b1a37befa\
         b5b195e8cdc07021dee09bb8e08dbb8d5bdc9dabb4458eb786215aa50c15c6d9c8316088051da386e0ca460b638568d42a\
         68977d5137c58b7a2fe780",
    );
    let text: String = (0..40).map(|i| format!("node-{} alive;", i * i)).collect();
    let envelope =
        [&hex("82a4416c676f00a3427566da")[..], &[0, compressed.len() as u8], &compressed].concat();
    assert_eq!(lzw::decompress(&envelope, 1 << 16).as_deref(), Ok(text.as_bytes()));
    assert_eq!(lzw::compress(text.as_bytes())[1..], envelope);
}

#[test]
fn keys_have_a_length_and_no_face() {
    assert_eq!(Key::new(&[0; 15]), Err(KeyError::Length(15)));
    assert_eq!(Key::from_base64("not base64!"), Err(KeyError::Base64));
    let key = Key::from_base64("c2VjcmV0c2VjcmV0MTIzNA==").unwrap();
    assert_eq!(
        (key.expose(), key.expose_base64().as_str()),
        (&b"secretsecret1234"[..], "c2VjcmV0c2VjcmV0MTIzNA==")
    );
    let shown = format!("{key:?} {:?} {:?}", Keyring::new(key.clone()), pool(b"k", ""));
    assert!(
        !shown.contains("c2Vj") && !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
}

#[test]
fn a_ring_changes_as_memberlist_s_does() {
    let [a, b, c] = [b'a', b'b', b'c'].map(|byte| key(byte, 32));
    let mut ring = Keyring::from_keys([a.clone(), b.clone(), a.clone()]).unwrap();
    assert_eq!(ring.keys(), [a.clone(), b.clone()]);
    assert_eq!(ring.use_key(&c), Err(KeyringError::NotInstalled));
    assert_eq!(ring.install(c.clone()), Ok(()));
    assert_eq!(ring.use_key(&c), Ok(()));
    assert_eq!(ring.keys(), [c.clone(), a.clone(), b.clone()]);
    assert_eq!(ring.remove(&c), Err(KeyringError::Primary));
    assert_eq!(ring.remove(&a), Ok(()));
    assert_eq!(ring.remove(&a), Ok(()));
    assert_eq!(ring.keys(), [c, b]);
    assert_eq!(Keyring::from_keys([]), None);
}

#[test]
fn packets_are_opened_with_any_key_and_only_with_one() {
    let (old, new) = (pool(b"a", ""), pool(b"ba", ""));
    for (from, to) in [(&old, &new), (&new, &pool(b"ab", "")), (&new, &new)] {
        let sealed = from.seal_packet(NONCE, PING);
        assert_eq!(sealed.len(), PING.len() + from.packet_overhead());
        assert_eq!(to.open_packet(&sealed).as_deref(), Ok(PING));
    }
    assert_eq!(old.open_packet(&new.seal_packet(NONCE, PING)), Err(OpenError::NoKey));
    assert!(matches!(old.open_packet(PING), Err(OpenError::TooSmall(_))));
    assert_eq!(old.open_packet(&[7; 64]), Err(OpenError::Version(7)));
    let lenient = Security { verify_incoming: false, verify_outgoing: false, ..old.clone() };
    assert_eq!(lenient.open_packet(PING).as_deref(), Ok(PING));
    assert_eq!(lenient.seal_packet(NONCE, PING), PING);
    assert_eq!((lenient.packet_overhead(), lenient.encrypts()), (0, false));
}

#[test]
fn a_pool_s_label_keeps_others_out() {
    let (plain, east) = (Security::default(), pool(b"", "east"));
    let (sealed, west) = (pool(b"k", "east"), pool(b"k", "west"));
    for security in [&plain, &east, &sealed] {
        let packet = security.seal_packet(NONCE, PING).into_owned();
        assert_eq!(packet.len(), PING.len() + security.packet_overhead());
        assert_eq!(security.open_packet(&packet).as_deref(), Ok(PING));
        assert_eq!(west.open_packet(&packet), Err(OpenError::Label(label_of(security))));
    }
    assert_eq!(plain.open_packet(b"\xf4\x00"), Err(OpenError::LabelEmpty));
    assert_eq!(plain.open_packet(b"\xf4\x05abc"), Err(OpenError::LabelTruncated));
    // The tag covers the label: it cannot be changed on the way.
    let mut packet = sealed.seal_packet(NONCE, PING).into_owned();
    packet[2..6].copy_from_slice(b"west");
    assert_eq!(west.open_packet(&packet), Err(OpenError::NoKey));
}

fn label_of(security: &Security) -> String {
    String::from_utf8_lossy(&security.label).into_owned()
}

/// What comes out of a packet, and the mistake.
fn unpacked(packet: &[u8]) -> (Vec<Vec<u8>>, Result<(), PacketError>) {
    let mut messages = Vec::new();
    let result = packet::unpack(packet, &mut |kind, body| {
        messages.push([&[kind as u8], body].concat());
    });
    (messages, result)
}

#[test]
fn what_is_whole_in_a_compound_is_taken() {
    let parts = [PING.to_vec(), b"\x08hello".to_vec(), PING.to_vec()];
    let compound = packet::compound(&parts);
    assert_eq!(unpacked(&compound), (parts.to_vec(), Ok(())));
    let truncated = Err(PacketError::Truncated("compound message"));
    assert_eq!(unpacked(&compound[..compound.len() - 1]), (parts[..2].to_vec(), truncated.clone()));
    assert_eq!(unpacked(&compound[..5]), (vec![], truncated));
    // One that is not known is no reason to leave out the others.
    let odd = [b"\x63".to_vec(), PING.to_vec(), b"\x06".to_vec(), vec![]];
    let expected = (vec![PING.to_vec()], Err(PacketError::UnknownType(0x63)));
    assert_eq!(unpacked(&packet::compound(&odd)), expected);
    assert_eq!(unpacked(b"\x0dstream"), (vec![], Err(PacketError::Misplaced(13))));
    assert_eq!(unpacked(b""), (vec![], Err(PacketError::Empty)));
}

#[test]
fn a_wrong_checksum_is_seen() {
    let mut packet = packet::pack(PING.to_vec(), true, true);
    assert_eq!(packet.len(), PING.len() + 5, "too small to be compressed");
    assert_eq!(unpacked(&packet), (vec![PING.to_vec()], Ok(())));
    packet[7] ^= 1;
    assert!(matches!(unpacked(&packet), (m, Err(PacketError::Checksum { .. })) if m.is_empty()));
    assert_eq!(unpacked(b"\x0c\x00"), (vec![], Err(PacketError::Truncated("checksum"))));
}

#[test]
fn a_small_packet_does_not_become_much() {
    let bomb = lzw::compress(&vec![8; EXPANDED_MAX]);
    assert!(bomb.len() < 2000);
    let parts = vec![bomb; 30];
    let (messages, result) = unpacked(&packet::compound(&parts));
    assert_eq!(messages.len(), 1, "the first one uses all there is");
    let too_large = DecompressError::TooLarge { limit: 0 };
    assert_eq!(result, Err(PacketError::Decompress(too_large)));

    let pings = packet::compound(&[b"\x00\x80"; 255]);
    let (messages, result) = unpacked(&packet::compound(&vec![lzw::compress(&pings); 20]));
    assert_eq!((messages.len(), result), (packet::MESSAGES_MAX, Err(PacketError::TooMany)));

    let mut nested = PING.to_vec();
    for _ in 0..packet::LAYERS_MAX {
        nested = packet::compound(&[nested]);
    }
    assert_eq!(unpacked(&nested), (vec![], Err(PacketError::TooDeep)));
}

#[test]
fn compressed_bytes_that_are_none_are_refused() {
    let unknown = hex("82a4416c676f01a3427566a0");
    assert!(matches!(lzw::decompress(&unknown, 100), Err(DecompressError::UnknownAlgorithm(1))));
    let compressed = lzw::compress(&[b'x'; 300]);
    assert_eq!(lzw::decompress(&compressed[1..], 300), Ok(vec![b'x'; 300]));
    assert_eq!(
        lzw::decompress(&compressed[1..], 299),
        Err(DecompressError::TooLarge { limit: 299 })
    );
    for cut in 1..12 {
        let mut short = compressed[1..].to_vec();
        let end = short.len() - cut;
        short.truncate(end);
        assert!(lzw::decompress(&short, 300).is_err(), "cut by {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_is_unpacked(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
        runs in any::<bool>(), compress in any::<bool>(), checksum in any::<bool>(),
    ) {
        let message = |body: &Vec<u8>| {
            let body = if runs { vec![body.len() as u8; body.len()] } else { body.clone() };
            [vec![MessageType::User as u8], body].concat()
        };
        let messages: Vec<Vec<u8>> = bodies.iter().map(message).collect();
        let packed = packet::pack(packet::compound(&messages), compress, checksum);
        prop_assert_eq!(unpacked(&packed), (messages, Ok(())));
    }

    #[test]
    fn what_is_sealed_opens_only_unchanged(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let security = pool(b"k", "label");
        let sealed = security.seal_packet(NONCE, &plain).into_owned();
        let opened = security.open_packet(&sealed);
        prop_assert_eq!(opened.as_deref(), Ok(&plain[..]));
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= 1u8 << bit;
        prop_assert!(security.open_packet(&changed).is_err());
    }
}
