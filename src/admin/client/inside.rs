//! Calls about who is inside and who was turned away.

use super::{CallError, Caller, empty, json};
use crate::admin::explanation::BadExplanation;
use bytes::Bytes;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

impl Caller {
    /// A page of those who are inside, which these words ask for: `{"data": [...], "meta": {...}}`.
    pub async fn clients(&self, words: &[(&str, String)]) -> Result<Value, CallError> {
        self.rows("clients", words).await
    }

    /// A page of those who were turned away.
    pub async fn refused(&self, words: &[(&str, String)]) -> Result<Value, CallError> {
        self.rows("refused", words).await
    }

    /// A client that is inside; `None` when nobody of that client identifier is.
    pub async fn client(&self, client_id: &str) -> Result<Option<Value>, CallError> {
        match self.call(Method::GET, &format!("clients/{}", encoded(client_id)), empty()).await {
            Ok(answer) => {
                Ok(Some(serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error))?))
            }
            Err(CallError::Refused { code, .. }) if code == "CLIENTID_NOT_FOUND" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends every session of a client identifier; false when there is none.
    pub async fn kick(&self, client_id: &str) -> Result<bool, CallError> {
        let path = format!("clients/{}", encoded(client_id));
        if path.len() > LONGEST_PATH {
            let call = self.call(Method::POST, "clients/kickout/bulk", json(&[client_id]));
            return call.await.map(|_| true);
        }
        match self.call(Method::DELETE, &path, empty()).await {
            Ok(_) => Ok(true),
            Err(CallError::Refused { code, .. }) if code == "CLIENTID_NOT_FOUND" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Forgets all that were turned away.
    pub async fn clear_refused(&self) -> Result<(), CallError> {
        self.call(Method::DELETE, "refused", empty()).await.map(drop)
    }

    /// Forgets one that was turned away; false when there is none of this number.
    pub async fn remove_refused(&self, id: u64) -> Result<bool, CallError> {
        match self.call(Method::DELETE, &format!("refused/{id}"), empty()).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn rows(&self, path: &str, words: &[(&str, String)]) -> Result<Value, CallError> {
        let words: Vec<_> = words.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let path = format!("{path}?{}", words.join("&"));
        let answer: Bytes = self.call(Method::GET, &path, empty()).await?;
        serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error).into())
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Longer ones may not be taken.
const LONGEST_PATH: usize = 16_384;
