//! The files of the page. They are part of the program, so that a browser asks nobody else for anything.

use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// A file, as a browser is given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

/// What the page may do, as `Content-Security-Policy`: nothing that is not in its files, and ask nobody else. Text never
/// becomes markup: browsers that know Trusted Types refuse it.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// The page, whatever it shows.
pub const PAGE: File =
    File { name: "index.html", content_type: HTML, bytes: include_bytes!("files/index.html") };

const HTML: &str = "text/html; charset=utf-8";

const fn script(name: &'static str, bytes: &'static [u8]) -> File {
    File { name, content_type: "text/javascript; charset=utf-8", bytes }
}

/// What the page consists of.
const FILES: [File; 21] = [
    File { name: "app.css", content_type: "text/css; charset=utf-8", bytes: include_bytes!("files/app.css") },
    File { name: "icon.svg", content_type: "image/svg+xml", bytes: include_bytes!("files/icon.svg") },
    script("theme.js", include_bytes!("files/theme.js")),
    script("app.js", include_bytes!("files/app.js")),
    script("api.js", include_bytes!("files/api.js")),
    script("dom.js", include_bytes!("files/dom.js")),
    script("text.js", include_bytes!("files/text.js")),
    script("time.js", include_bytes!("files/time.js")),
    script("dialog.js", include_bytes!("files/dialog.js")),
    script("table.js", include_bytes!("files/table.js")),
    script("charts.js", include_bytes!("files/charts.js")),
    script("actions.js", include_bytes!("files/actions.js")),
    script("overview.js", include_bytes!("files/overview.js")),
    script("bans.js", include_bytes!("files/bans.js")),
    script("banform.js", include_bytes!("files/banform.js")),
    script("importer.js", include_bytes!("files/importer.js")),
    script("refused.js", include_bytes!("files/refused.js")),
    script("clients.js", include_bytes!("files/clients.js")),
    script("watch.js", include_bytes!("files/watch.js")),
    script("settings.js", include_bytes!("files/settings.js")),
    script("whatif.js", include_bytes!("files/whatif.js")),
];

/// The file of this name.
pub fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

impl File {
    /// What tells it from other versions of itself.
    pub fn tag(&self) -> String {
        format!("\"{:016x}\"", FixedState::default().hash_one(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &File) -> &'static str {
        std::str::from_utf8(file.bytes).expect("UTF-8")
    }

    #[test]
    fn the_page_and_all_its_files_weigh_no_more_than_promised() {
        let bytes: usize = FILES.iter().chain([&PAGE]).map(|file| file.bytes.len()).sum();
        assert!(bytes <= 150 << 10, "{bytes} bytes");
    }

    /// The policy forbids it, and a browser says so to nobody but the one who looks at its console.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for file in FILES.iter().chain([&PAGE]) {
            let text = text(file);
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!text.contains(word), "{}: {word}", file.name);
            }
            let addresses = text.match_indices("://").map(|(at, _)| &text[at.saturating_sub(5)..at + 30]);
            let foreign: Vec<_> =
                addresses.filter(|address| !address.contains("www.w3.org/2000/svg")).collect();
            assert!(foreign.is_empty(), "{}: {foreign:?}", file.name);
        }
        for word in ["<style", "style=", " onclick", " onload", "<script>"] {
            assert!(!text(&PAGE).contains(word), "{word}");
        }
    }

    #[test]
    fn every_file_that_a_file_names_is_there() {
        for file in FILES.iter().chain([&PAGE]) {
            for part in text(file).split(['"', '\'']) {
                let name = part.strip_prefix("./").or_else(|| part.strip_prefix("/dashboard/files/"));
                if let Some(name) = name.filter(|name| name.contains('.')) {
                    assert!(super::file(name).is_some(), "{} names {name}", file.name);
                }
            }
        }
    }

    #[test]
    fn files_that_differ_have_different_tags() {
        let tags: std::collections::BTreeSet<_> = FILES.iter().map(File::tag).collect();
        assert_eq!(tags.len(), FILES.len());
    }
}
