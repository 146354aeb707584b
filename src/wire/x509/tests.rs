use super::*;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SerialNumber, date_time_ymd, string::BmpString};

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let names = vec!["Broker.Example".to_owned(), "*.example".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(2024, 2, 29);
    params.not_after = date_time_ymd(2055, 1, 1);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("signed").der().to_vec()
}

#[test]
fn a_certificate_says_who_holds_it_and_for_how_long() {
    let der = certificate(|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Smith, Jones + Co");
        name.push(DnType::CommonName, "dev-1");
        params.serial_number = Some(SerialNumber::from_slice(&[0xCA, 0xFE, 0x01]));
    });
    let read = read(&der).expect("a certificate");
    assert_eq!(read.cn.as_deref(), Some("dev-1"));
    assert_eq!(read.dn, r"CN=dev-1,O=Smith\, Jones \+ Co,C=DE");
    assert_eq!(read.serial, "CAFE01");
    assert_eq!((read.not_before, read.not_after), (1_709_164_800, 2_682_374_400));
    assert_eq!(read.dns_names, ["broker.example", "*.example"]);
}

#[test]
fn names_in_every_alphabet_are_texts_and_what_is_none_is_told_in_bytes() {
    let der = certificate(|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, DnValue::BmpString(BmpString::try_from("Gerät").expect("plain")));
        name.push(DnType::LocalityName, " #1 ");
        name.push(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b");
    });
    let read = read(&der).expect("a certificate");
    assert_eq!(read.cn.as_deref(), Some("Gerät"));
    assert_eq!(read.dn, r"1.2.840.113549.1.9.1=#0c03614062,L=\ #1\ ,CN=Gerät");
}

#[test]
fn a_certificate_without_a_name_has_none() {
    let der = certificate(|params| params.subject_alt_names.clear());
    let read = read(&der).expect("a certificate");
    assert_eq!((read.cn, read.dn.as_str(), read.dns_names.len()), (None, "", 0));
}

#[test]
fn a_certificate_that_is_cut_anywhere_is_none() {
    let der = certificate(|_| {});
    for end in 0..der.len() {
        assert_eq!(read(&der[..end]), None, "{end}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0_usize..500, to in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&noise);
        let mut der = certificate(|params| params.distinguished_name.push(DnType::CommonName, "x"));
        let length = der.len();
        der[at % length] = to;
        let _ = read(&der);
    }
}
