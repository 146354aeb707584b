//! What a certificate says of its holder: name, number, dates. Whether it is believed is rustls's to decide; this is
//! read of certificates that have been.
//!
//! Sources: RFC 5280 (certificates), ITU-T X.690 (DER), RFC 4514 (names as text).

mod der;
mod name;

use der::{Der, Tag};
use std::fmt::Write;

/// What was read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The first common name of the subject, where it has one.
    pub cn: Option<String>,
    /// The subject as RFC 4514 writes it: `CN=dev-1,O=Example,C=DE`.
    pub dn: String,
    /// The serial number in hexadecimal, as openssl writes it: `0A1B2C`.
    pub serial: String,
    /// It is good from then on, in seconds since 1970.
    pub not_before: i64,
    /// It is good until then, in seconds since 1970.
    pub not_after: i64,
    /// The names of servers that it is for, in lower case.
    pub dns_names: Vec<String>,
}

/// Reads a certificate in DER; `None` where it is none.
pub fn read(der: &[u8]) -> Option<Certificate> {
    let mut certificate = Der::new(Der::new(der).expect(Tag::SEQUENCE)?);
    // TBSCertificate [RFC 5280, section 4.1]
    let mut body = Der::new(certificate.expect(Tag::SEQUENCE)?);
    body.skip_if(Tag::CONTEXT_0);
    let serial = body.expect(Tag::INTEGER)?;
    body.expect(Tag::SEQUENCE)?;
    body.expect(Tag::SEQUENCE)?;
    let mut validity = Der::new(body.expect(Tag::SEQUENCE)?);
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let subject = name::read(body.expect(Tag::SEQUENCE)?)?;
    body.expect(Tag::SEQUENCE)?;
    Some(Certificate {
        cn: subject.common_name(),
        dn: subject.to_string(),
        serial: hexadecimal(serial),
        not_before,
        not_after,
        dns_names: alternative_names(body).unwrap_or_default(),
    })
}

/// Of a positive number, what its sign needs is left out.
fn hexadecimal(number: &[u8]) -> String {
    let digits = match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    digits.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The DNS names of the subject alternative name. \[RFC 5280, section 4.2.1.6\]
fn alternative_names(mut body: Der<'_>) -> Option<Vec<String>> {
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
    body.skip_if(Tag::CONTEXT_1);
    body.skip_if(Tag::CONTEXT_2);
    let mut extensions = Der::new(Der::new(body.expect(Tag::CONTEXT_3)?).expect(Tag::SEQUENCE)?);
    while let Some((Tag::SEQUENCE, extension)) = extensions.next() {
        let mut extension = Der::new(extension);
        if extension.expect(Tag::OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
            continue;
        }
        extension.skip_if(Tag::BOOLEAN);
        let mut names = Der::new(Der::new(extension.expect(Tag::OCTET_STRING)?).expect(Tag::SEQUENCE)?);
        let mut dns_names = Vec::new();
        while let Some((tag, name)) = names.next() {
            if tag == Tag::DNS_NAME
                && let Ok(name) = str::from_utf8(name)
            {
                dns_names.push(name.to_ascii_lowercase());
            }
        }
        return Some(dns_names);
    }
    None
}

#[cfg(test)]
mod tests;
