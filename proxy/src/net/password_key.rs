//! RSA for passwords: our own key, for clients without TLS before a database with TLS, and the database's key the other
//! way round. The padding is OAEP with SHA-1, as MySQL has it.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    error::Unspecified,
    rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
        PublicEncryptingKey,
    },
};
use std::{io, sync::OnceLock};

/// Our key; made when it is first needed, and anew in each process.
#[derive(Default)]
pub struct PasswordKey(OnceLock<Option<Pair>>);

struct Pair {
    own: OaepPrivateDecryptingKey,
    pem: String,
}

impl PasswordKey {
    fn pair(&self) -> io::Result<&Pair> {
        // A tenth of a second, once.
        let pair = self.0.get_or_init(|| tokio::task::block_in_place(|| generate().ok()));
        pair.as_ref().ok_or_else(|| io::Error::other("no RSA key could be made"))
    }

    /// The public half, as the server would send its own.
    pub fn pem(&self) -> io::Result<&str> {
        Ok(&self.pair()?.pem)
    }

    /// Reads what was encrypted with the public half; None when it was not.
    pub fn decrypt(&self, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let own = &self.pair()?.own;
        let mut room = vec![0; own.min_output_size()];
        let plain = own.decrypt(&OAEP_SHA1_MGF1SHA1, bytes, &mut room, None);
        Ok(plain.ok().map(|plain| plain.to_vec()))
    }
}

fn generate() -> Result<Pair, Unspecified> {
    let own = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
    let der: PublicKeyX509Der<'_> = own.public_key().as_der()?;
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let pem = pem::encode_config(&pem::Pem::new("PUBLIC KEY", der.as_ref()), config);
    Ok(Pair { own: OaepPrivateDecryptingKey::new(own)?, pem })
}

/// Encrypts with a server's public key; None when that is not a key.
pub fn encrypt(key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(pem::parse(key).ok()?.contents()).ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut room = vec![0; key.ciphertext_size()];
    let hidden = key.encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut room, None).ok()?;
    Some(hidden.to_vec())
}
