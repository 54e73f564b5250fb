//! Signing in by password on a bare connection, and changing the user in the middle.

use super::packet::{Packet, Reader};
use super::raw::{Abilities, Raw};
use crate::{Context, Failure, Result};
use mysql_common::crypto;
use mysql_common::packets::AuthPlugin;

/// Long passwords and flags, a schema, local files, the protocol of 4.1, transactions, passwords by challenge, several
/// statements and results, also prepared, named ways to sign in.
const ALWAYS: u64 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 9 | 1 << 13 | 1 << 15 | 7 << 16 | 1 << 19;
const SESSION_TRACK: u64 = 1 << 23;
const DEPRECATE_EOF: u64 = 1 << 24;
const ATTRIBUTES: u64 = 1 << 27;

/// Not comparable: compression and TLS are between the proxy and each of its sides.
const LEGS_OWN: u64 = 1 << 5 | 1 << 11 | 1 << 26;

/// utf8mb4, in the collation that both servers know.
const UTF8MB4: u8 = 45;

const ASK_KEY: u8 = 2;
const FAST: u8 = 3;
const WHOLE_PASSWORD: u8 = 4;

/// A greeting, as far as it is needed to answer.
struct Greeting {
    capabilities: u64,
    nonce: Vec<u8>,
    plugin: Vec<u8>,
    /// Without the connection's number, the challenge, and the flags that are each side's own.
    masked: Packet,
}

impl Greeting {
    fn read(packet: Packet) -> Self {
        let mut reader = Reader(&packet.body);
        reader.number(1);
        reader.text();
        let at = packet.body.len() - reader.0.len();
        reader.number(4);
        let mut nonce = reader.take(8).to_vec();
        reader.number(1);
        let low = reader.number(2);
        reader.take(3);
        let capabilities = low | reader.number(2) << 16;
        reader.take(11);
        nonce.extend(reader.take(12));
        reader.take(1);
        let plugin = reader.text().to_vec();
        let mut masked = packet.clone();
        let shared = (capabilities & !LEGS_OWN).to_le_bytes();
        masked.body[at..at + 12].fill(b'?');
        masked.body[at + 13..at + 15].copy_from_slice(&shared[..2]);
        masked.body[at + 18..at + 20].copy_from_slice(&shared[2..4]);
        masked.body[at + 31..at + 43].fill(b'?');
        Self { capabilities, nonce, plugin, masked }
    }
}

impl Raw {
    pub(super) async fn sign_in(&mut self, user: (&str, &str), schema: &str, able: Abilities) -> Result<()> {
        let packet = self.message().await?.pop().or_fail("no greeting came")?;
        let mut greeting = Greeting::read(packet);
        let flags = match able {
            Abilities::Old => ALWAYS,
            Abilities::New => ALWAYS | (SESSION_TRACK | DEPRECATE_EOF | ATTRIBUTES) & greeting.capabilities,
        };
        self.deprecate_eof = flags & DEPRECATE_EOF != 0;
        self.attributes = flags & ATTRIBUTES != 0;
        let mut answer = flags.to_le_bytes()[..4].to_vec();
        answer.extend((1_u32 << 30).to_le_bytes());
        answer.push(UTF8MB4);
        answer.extend([0; 23]);
        answer.extend([user.0.as_bytes(), b"\0"].concat());
        let password = scrambled(&greeting.plugin, user.1, &greeting.nonce);
        answer.push(u8::try_from(password.len()).or_fail("a password")?);
        answer.extend(password);
        answer.extend([schema.as_bytes(), b"\0", &greeting.plugin, b"\0"].concat());
        self.reply(&answer).await?;
        let mut ok = self.proven(user.1, greeting.nonce).await?.or_fail("signing in: the server has gone")?;
        // Its number depends on whether the server remembered the account.
        ok.number = 0;
        if ok.kind() != 0 {
            return Err(Failure::new(format!("signing in: {ok}")));
        }
        // MariaDB's own flags that are not relayed: progress reports, COM_MULTI, cached metadata.
        if greeting.capabilities & 1 == 0 {
            let end = greeting.masked.body.iter().skip(1).position(|byte| *byte == 0).or_fail("a version")?;
            greeting.masked.body[end + 2 + 27] &= 0b1100;
        }
        self.greeting = vec![greeting.masked, ok];
        Ok(())
    }

    /// COM_CHANGE_USER, and the last packet that answers it. Nothing if the server has closed the connection.
    pub async fn change_user(&mut self, user: (&str, &str), schema: &str) -> Result<Option<Packet>> {
        let native = b"mysql_native_password";
        // The challenge for it is in the request to switch that follows: an answer of one byte fits none.
        let mut request = vec![0x11];
        request.extend(
            [user.0.as_bytes(), b"\0\x01x", schema.as_bytes(), b"\0", &[UTF8MB4, 0], native, b"\0"].concat(),
        );
        self.command(&request).await?;
        let last = self.proven(user.1, Vec::new()).await?;
        Ok(last.map(|last| Packet { number: 0, ..last }))
    }

    /// Answers what the server asks until it is content or not.
    async fn proven(&mut self, password: &str, mut nonce: Vec<u8>) -> Result<Option<Packet>> {
        loop {
            let Some(packet) = self.message().await?.pop() else { return Ok(None) };
            match (packet.kind(), packet.body.get(1)) {
                (0xfe, _) => {
                    let mut reader = Reader(&packet.body[1..]);
                    let plugin = reader.text().to_vec();
                    nonce = reader.0.strip_suffix(&[0]).unwrap_or(reader.0).to_vec();
                    let answer = scrambled(&plugin, password, &nonce);
                    self.reply(&answer).await?;
                }
                (1, Some(&FAST)) => {}
                (1, Some(&WHOLE_PASSWORD)) => self.reply(&[ASK_KEY]).await?,
                (1, _) => {
                    let clear = [password.as_bytes(), b"\0"].concat();
                    let mixed: Vec<u8> = clear.iter().zip(nonce.iter().cycle()).map(|(p, n)| p ^ n).collect();
                    self.reply(&crypto::encrypt(&mixed, &packet.body[1..])).await?;
                }
                _ => return Ok(Some(packet)),
            }
        }
    }
}

fn scrambled(plugin: &[u8], password: &str, nonce: &[u8]) -> Vec<u8> {
    let plugin = AuthPlugin::from_bytes(plugin);
    plugin.gen_data(Some(password), nonce).map(|data| data.to_vec()).unwrap_or_default()
}
