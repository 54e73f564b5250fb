//! Calls of the HTTP API. An error names the address that gave it, or did not answer.

use serde_json::Value;
use std::time::Duration;

/// A commit may take the coordinator ten seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answered.
    #[error(
        "no answer from {url}: {source}; is the coordinator running there? (--server or ATONE_SERVER names another)"
    )]
    Silent {
        /// Where.
        url: String,
        /// What happened.
        source: Box<ureq::Error>,
    },
    /// The coordinator said no.
    #[error("{0}")]
    Refused(String),
    /// Something else lives there.
    #[error("{url} answered {status} with something that is no answer of a coordinator's")]
    Strange {
        /// Where.
        url: String,
        /// With which status.
        status: u16,
    },
}

pub(super) struct Server {
    agent: ureq::Agent,
    base: String,
}

impl Server {
    pub(super) fn new(base: &str) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        let base = base.trim_end_matches('/');
        let scheme = if base.contains("://") { "" } else { "http://" };
        Self { agent: config.into(), base: format!("{scheme}{base}") }
    }

    pub(super) fn get(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<Value, CallError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in query {
            if let Some(value) = value {
                request = request.query(*name, *value);
            }
        }
        self.read(request.call())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        self.read(self.agent.post(format!("{}{path}", self.base)).send_json(body))
    }

    fn read(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, CallError> {
        let silent = |source| CallError::Silent { url: self.base.clone(), source: Box::new(source) };
        let mut answer = answer.map_err(silent)?;
        let status = answer.status();
        let strange = || CallError::Strange { url: self.base.clone(), status: status.as_u16() };
        let body: Value = answer.body_mut().read_json().map_err(|_| strange())?;
        if status.is_success() {
            return Ok(body);
        }
        match (body["error"].as_str(), body["status"].as_str()) {
            (Some(error), _) => Err(CallError::Refused(error.to_owned())),
            (None, Some(state)) => {
                Err(CallError::Refused(format!("the coordinator at {} is {state}", self.base)))
            }
            (None, None) => Err(strange()),
        }
    }
}

/// A path segment: what is no letter or digit is escaped, so that an argument cannot name another page.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}
