//! `[admin]`: where the API listens, who the first user is, and how much callers may take.

use super::document::Section;
use super::file::{Bind, FilePath, ListenerConfig, MILLISECOND};
use crate::admin::{Limits, ListenSettings};
use crate::net::tls::KeyPair;
use std::net::SocketAddr;
use std::path::Path;

/// `[admin]`: how the API is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminConfig {
    /// Where it listens beside its socket; `None` for nowhere.
    pub listen: Option<ListenSettings>,
    /// How much callers may take, those of the socket included.
    pub limits: Limits,
}

/// Reads the section; without it the API has its socket alone.
pub(super) fn read(
    root: &Section<'_, '_>,
    folder: &Path,
    listeners: Option<&[ListenerConfig]>,
) -> Option<AdminConfig> {
    let is_there = root.has("admin");
    let section = root.section("admin");
    if !is_there {
        return Some(AdminConfig::default());
    }
    let path = |key| section.optional::<FilePath>(key).map(|path| folder.join(path.0));
    let bind: Option<Bind> = section.parsed("bind", "\"127.0.0.1:18083\"");
    let allow_plaintext = section.switch("allow_plaintext", "false");
    let tls = read_tls(&section, folder);
    let (password_file, api_key_file) = (path("password_file"), path("api_key_file"));
    let token_ttl = section.duration_within("token_ttl", "\"1h\"", TOKEN_TTL);
    let max_connections = section.number("max_connections", "256", 1..100_001);
    let max_body = section.size("max_body", "\"1MB\"", 1024..(1 << 30) + 1);
    let header_timeout = section.duration("header_timeout", "\"30s\"", MILLISECOND);
    let body_timeout = section.duration("body_timeout", "\"30s\"", MILLISECOND);
    let open_metrics = section.switch("open_metrics", "false");
    let dashboard = section.switch("dashboard", "true");

    let bind = bind.map(|Bind(bind)| bind);
    if let (Some(bind), Some(tls), Some(allow_plaintext)) = (bind, &tls, allow_plaintext) {
        check_bind(&section, bind, tls.files.is_some() || allow_plaintext, listeners.unwrap_or_default());
    }
    section.finish();
    Some(AdminConfig {
        listen: Some(ListenSettings {
            bind: bind?,
            tls: tls?.files,
            password_file,
            api_key_file,
            max_connections: usize::try_from(max_connections?).ok()?,
            token_ttl: token_ttl?,
        }),
        limits: Limits {
            max_body: usize::try_from(max_body?).ok()?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            open_metrics: open_metrics?,
            dashboard: dashboard?,
        },
    })
}

/// A minute to a month.
const TOKEN_TTL: std::ops::RangeInclusive<std::time::Duration> =
    std::time::Duration::from_mins(1)..=std::time::Duration::from_hours(24 * 31);

/// What was read of a section that may be left out.
struct Tls {
    files: Option<KeyPair>,
}

fn read_tls(section: &Section<'_, '_>, folder: &Path) -> Option<Tls> {
    let is_there = section.has("tls");
    let tls = section.section("tls");
    if !is_there {
        return Some(Tls { files: None });
    }
    let cert: Option<FilePath> =
        tls.required("cert", "a file with the certificate (PEM), e.g. \"admin.pem\"");
    let key: Option<FilePath> = tls.required("key", "a file with its private key (PEM), e.g. \"admin.key\"");
    tls.finish();
    Some(Tls { files: Some(KeyPair { cert: folder.join(cert?.0), key: folder.join(key?.0) }) })
}

fn check_bind(
    section: &Section<'_, '_>,
    bind: SocketAddr,
    may_be_public: bool,
    listeners: &[ListenerConfig],
) {
    if !bind.ip().to_canonical().is_loopback() && !may_be_public {
        let expected = "expected [admin.tls] with cert and key, or an address of this machine alone, e.g. \
                        \"127.0.0.1:18083\"; allow_plaintext = true if something else keeps others from listening in";
        section.mistake(
            "bind",
            format!("\"{bind}\" would send passwords through the network in the clear; {expected}"),
        );
    }
    let same = listeners.iter().find(|listener| listener.binds.contains(&bind.into()) && bind.port() != 0);
    if let Some(listener) = same {
        let name = &listener.name;
        section.mistake(
            "bind",
            format!("\"{bind}\" is taken by listener \"{name}\"; expected an address of its own"),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{AdminConfig, Config};
    use std::path::Path;

    fn parse(section: &str) -> Result<AdminConfig, Vec<String>> {
        let text = format!(
            "[[listener]]\nname = \"mqtt\"\nbind = \"0.0.0.0:1883\"\n[upstream]\nservers = [\"127.0.0.1:1884\"]\n{section}"
        );
        let config = Config::parse("/etc/x/test.toml", &text);
        config.map(|config| config.admin).map_err(|found| found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_table_switches_the_listener_on_and_its_defaults_are_emqx_s_port_on_this_machine() {
        assert_eq!(parse("").expect("good"), AdminConfig::default());
        let listen = parse("[admin]").expect("good").listen.expect("on");
        assert_eq!((listen.bind.to_string().as_str(), listen.tls), ("127.0.0.1:18083", None));
    }

    #[test]
    fn a_public_address_without_tls_is_refused_unless_it_is_wanted() {
        for bind in ["0.0.0.0:18083", "[::]:18083", "10.0.0.1:18083"] {
            let refused = parse(&format!("[admin]\nbind = \"{bind}\"")).expect_err("in the clear");
            let expected = format!(
                "test.toml:7: admin.bind: \"{bind}\" would send passwords through the network in the clear; expected [admin.tls]"
            );
            assert!(refused[0].contains(&expected), "{refused:?}");
            assert!(parse(&format!("[admin]\nbind = \"{bind}\"\nallow_plaintext = true")).is_ok());
            assert!(
                parse(&format!("[admin]\nbind = \"{bind}\"\ntls = {{ cert = \"c\", key = \"k\" }}")).is_ok()
            );
        }
        for bind in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(parse(&format!("[admin]\nbind = \"{bind}\"")).is_ok(), "{bind}");
        }
    }

    #[test]
    fn every_mistake_is_found() {
        let section = "[admin]\nbind = \"0.0.0.0:1883\"\ntoken_ttl = \"1s\"\nmax_body = 3\nuser = \"x\"\n[admin.tls]\ncert = \"c\"";
        let found = parse(section).expect_err("bad");
        let keys: Vec<_> = found.iter().filter_map(|mistake| mistake.split(": ").nth(1)).collect();
        assert_eq!(keys, ["admin.token_ttl", "admin.max_body", "admin.user", "admin.tls.key"], "{found:?}");
        let taken = parse("[admin]\nbind = \"0.0.0.0:1883\"\nallow_plaintext = true").expect_err("taken");
        assert!(taken[0].contains("is taken by listener \"mqtt\""), "{taken:?}");
    }

    #[test]
    fn files_are_beside_the_config_file() {
        let section = "[admin]\npassword_file = \"p\"\napi_key_file = \"/k\"\ntls = { cert = \"c.pem\", key = \"k.pem\" }";
        let listen = parse(section).expect("good").listen.expect("on");
        assert_eq!(listen.password_file.as_deref(), Some(Path::new("/etc/x/p")));
        assert_eq!(listen.api_key_file.as_deref(), Some(Path::new("/k")));
        assert_eq!(listen.tls.expect("on").cert, Path::new("/etc/x/c.pem"));
    }
}
