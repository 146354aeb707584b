//! Asks a server how it is: whether it takes a connection, or whether it speaks MQTT.

use super::health::Thresholds;
use crate::net::read_some;
use crate::wire::mqtt::Version;
use crate::wire::mqtt::ping::{Answer, Caller, DISCONNECT, PINGREQ, read};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// How the servers of a group are asked how they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSettings {
    /// What is asked.
    pub kind: CheckKind,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take, the connection included.
    pub timeout: Duration,
    /// How many answers change what is believed.
    pub thresholds: Thresholds,
}

/// What a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// To take a connection.
    Tcp,
    /// To let a client in, and to answer it.
    Mqtt(MqttCheck),
}

/// The client that a check is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttCheck {
    /// The version that it speaks.
    pub version: Version,
    /// Its client identifier; empty lets the broker choose.
    pub client_id: String,
    /// Its user name.
    pub username: Option<String>,
    /// Where its password is.
    pub password_file: Option<PathBuf>,
}

/// A password. Shown nowhere.
#[derive(Clone, Default)]
pub(super) struct Password(Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Password {
    /// The first line of a file.
    pub(super) fn read(path: &std::path::Path) -> io::Result<Password> {
        let text = std::fs::read(path)?;
        let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        Ok(Password(line.to_vec()))
    }
}

/// A server that is not well.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It takes no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// It did not answer in time.
    #[error("no answer to {to} in time")]
    Silent {
        /// What it was asked.
        to: &'static str,
    },
    /// The connection broke before the answer.
    #[error("the connection broke after {after}")]
    Broke {
        /// What it was asked.
        after: &'static str,
        /// How.
        #[source]
        source: io::Error,
    },
    /// It does not let the check in.
    #[error("CONNACK with code {0:#04x}")]
    Refused(u8),
    /// It does not speak MQTT.
    #[error("answers {to} with {first:#04x}, which is no answer to it")]
    NotMqtt {
        /// What it was asked.
        to: &'static str,
        /// How its answer begins.
        first: u8,
    },
    /// The check's names are too long for MQTT.
    #[error("the check's client_id, username or password is too long")]
    TooLong,
}

/// Speaks MQTT with a server: CONNECT, PINGREQ, DISCONNECT.
pub(super) async fn speak<S>(
    stream: &mut S,
    check: &MqttCheck,
    password: Option<&Password>,
) -> Result<(), CheckError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let MqttCheck { version, client_id, username, .. } = check;
    let (username, password) = (username.as_deref(), password.map(|password| &*password.0));
    let caller = Caller { version: *version, client_id, username, password };
    let connect = caller.connect().ok_or(CheckError::TooLong)?;
    let mut unread = Vec::new();
    match ask(stream, &connect, "CONNECT", &mut unread).await? {
        Answer::Connack(0, _) => {}
        Answer::Connack(code, _) => return Err(CheckError::Refused(code)),
        _ => {
            return Err(CheckError::NotMqtt {
                to: "CONNECT",
                first: unread.first().copied().unwrap_or_default(),
            });
        }
    }
    match ask(stream, &PINGREQ, "PINGREQ", &mut unread).await? {
        Answer::Pingresp(_) => {}
        _ => {
            return Err(CheckError::NotMqtt {
                to: "PINGREQ",
                first: unread.first().copied().unwrap_or_default(),
            });
        }
    }
    // It has answered all that it was asked: how it takes the farewell is its own affair.
    let _ = stream.write_all(&DISCONNECT).await;
    let _ = stream.shutdown().await;
    Ok(())
}

/// Says something and reads the answer. Of what was read, `unread` keeps what follows the answer.
async fn ask<S>(
    stream: &mut S,
    question: &[u8],
    name: &'static str,
    unread: &mut Vec<u8>,
) -> Result<Answer, CheckError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broke = |source| CheckError::Broke { after: name, source };
    stream.write_all(question).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    loop {
        let answer = read(unread);
        match answer {
            Answer::NeedMore(missing) => {
                if read_some(stream, unread, missing).await.map_err(broke)? == 0 {
                    return Err(broke(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            Answer::Connack(_, size) | Answer::Pingresp(size) => {
                drop(unread.drain(..size.min(unread.len())));
                return Ok(answer);
            }
            Answer::Other(_) => return Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::io::Builder;

    fn check() -> MqttCheck {
        MqttCheck {
            version: Version::V311,
            client_id: "c".to_owned(),
            username: Some("u".to_owned()),
            password_file: None,
        }
    }

    const CONNECT: &[u8] = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x00\x00\x01c\x00\x01u\x00\x01p";

    #[tokio::test]
    async fn a_broker_that_answers_is_well_and_is_left_politely() {
        let mut broker = Builder::new()
            .write(CONNECT)
            .read(b"\x20\x02")
            .read(b"\x00\x00")
            .write(&PINGREQ)
            .read(b"\xd0\x00")
            .write(&DISCONNECT)
            .build();
        let password = Password(b"p".to_vec());
        speak(&mut broker, &check(), Some(&password)).await.expect("well");
        assert_eq!(format!("{password:?}"), "…");
    }

    #[tokio::test]
    async fn a_broker_that_is_not_well_is_told_by_what_it_does() {
        let begin = || {
            let mut script = Builder::new();
            script.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c");
            script
        };
        let check = MqttCheck { username: None, ..check() };
        let cases: [(&[&[u8]], &str); 5] = [
            (&[b"\x20\x02\x00\x05"], "CONNACK with code 0x05"),
            (&[b"HT"], "answers CONNECT with 0x48, which is no answer to it"),
            (&[], "the connection broke after CONNECT"),
            (&[b"\x20\x02\x00\x00", b"\x30\x00"], "answers PINGREQ with 0x30, which is no answer to it"),
            (&[b"\x20\x02\x00\x00", b"\xd0"], "the connection broke after PINGREQ"),
        ];
        for (answers, expected) in cases {
            let mut script = begin();
            for (index, answer) in answers.iter().enumerate() {
                if index == 1 {
                    script.write(&PINGREQ);
                }
                script.read(answer);
            }
            let error = speak(&mut script.build(), &check, None).await.expect_err("not well");
            assert_eq!(error.to_string(), expected);
        }
    }
}
