//! The walls of the house, checked in the sources: who may name whom, and what stands nowhere.

#![allow(clippy::unwrap_used, reason = "a test: it panics")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

mod paths;
#[path = "../secrets/types.rs"]
mod types;

/// A file, and its lines without comments and texts: all of them, and those outside `#[cfg(test)]`.
struct Source {
    name: String,
    all: Vec<String>,
    outer: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        files(&root().join(folder), &mut found);
    }
    found.sort();
    assert!(!found.is_empty());
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            let all: Vec<_> = bare(&text).lines().map(ToOwned::to_owned).collect();
            let is_test = ["tests", "simulation"].iter().any(|test| {
                name.ends_with(&format!("/{test}.rs")) || name.contains(&format!("/{test}/"))
            });
            let outer = if is_test {
                Vec::new()
            } else {
                without_tests(&all)
            };
            Source { name, all, outer }
        })
        .collect()
}

/// The code without comments, and with texts and characters emptied. Line breaks stay.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    let keep_lines = |skipped: &str, bare: &mut String| {
        bare.extend(skipped.chars().filter(|character| *character == '\n'));
    };
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            bare.push('"');
            text_end(rest)
        } else if first == 'r' && is_raw(rest) && !ends_in_word(&bare) {
            bare.push('"');
            let hashes = rest[1..].chars().take_while(|sign| *sign == '#').count();
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&close)
                .map_or(rest.len(), |end| start + end + close.len())
        } else if first == '\'' {
            character_end(rest)
        } else {
            0
        };
        if skipped > 0 {
            keep_lines(&rest[..skipped], &mut bare);
            rest = &rest[skipped..];
        } else {
            bare.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    bare
}

fn is_raw(rest: &str) -> bool {
    rest[1..].trim_start_matches('#').starts_with('"')
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|last: char| (last.is_alphanumeric() && last != 'b') || last == '_')
}

fn text_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The end of a character, or nothing where it is a lifetime.
fn character_end(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, _))) => rest[at + 1..].find('\'').map_or(0, |end| at + end + 2),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Everything but the modules and items behind `#[cfg(test)]`.
fn without_tests(lines: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line.clone());
            continue;
        }
        let mut depth = 0_usize;
        for line in lines.by_ref() {
            depth += line.matches('{').count();
            depth = depth.saturating_sub(line.matches('}').count());
            if depth == 0 && (line.contains('}') || line.trim_end().ends_with(';')) {
                break;
            }
        }
    }
    kept
}

/// Whether `line` holds `word`, not as a part of a longer one.
fn names(line: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

fn module(name: &str) -> &str {
    let name = name.strip_prefix("src/").unwrap_or(name);
    name.split(['/', '.']).next().unwrap()
}

/// The modules of the crate, the lowest first: each names only those that stand in a line above its own, so that there is no circle.
/// Values stand above the error that is about them, each with a small error of its own.
const ORDER: &[&[&str]] = &[
    &[
        "correlation",
        "guide",
        "invalid",
        "names",
        "phase",
        "plural",
        "process",
        "remedy",
        "resolver",
        "source",
        "sync",
        "thread",
    ],
    &["credentials", "timestamp"],
    &["clock", "key", "symbol_budget", "topic"],
    &["ambient", "calendar", "market"],
    &["price"],
    &["error"],
    &["event", "proxy"],
    &["config", "venue"],
    &["attempts", "backoff", "health", "order", "record"],
    &["transport"],
    &["stream"],
    &["price_book", "alpaca"],
    &["manager", "sim", "testing"],
    &["lib"],
];

#[test]
fn modules_name_only_those_above_them_in_the_list() {
    let place = |module: &str| ORDER.iter().position(|line| line.contains(&module));
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let from = module(&source.name);
        if from == "build" {
            continue;
        }
        let Some(here) = place(from) else {
            wrong.push(format!("{from} stands nowhere in the list"));
            continue;
        };
        for path in paths::named(&paths::module_of(&source.name), &source.outer.join("\n")) {
            let Some(to) = path.first().filter(|to| *to != from) else {
                continue;
            };
            if place(to).is_some_and(|there| there >= here) {
                wrong.push(format!("{} names {to}", source.name));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What stands beside each other in a folder of the stream can be read in some order: nothing has to be understood at once.
#[test]
fn no_files_of_the_stream_name_each_other_in_a_circle() {
    let sources = sources(&["src/stream"]);
    let outside_tests = sources.iter().filter(|source| !source.outer.is_empty());
    let files: BTreeMap<paths::Path, String> = outside_tests
        .map(|source| (paths::module_of(&source.name), source.outer.join("\n")))
        .collect();
    let aliases = paths::aliases(files.iter().map(|(module, code)| (module, code.as_str())));
    let mut edges: BTreeMap<paths::Path, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, code) in &files {
        for path in paths::named(from, code) {
            let path = paths::resolve(path, &aliases);
            let is_file = |end: &usize| files.contains_key(&path[..*end]);
            let Some(to) = (1..=path.len()).rev().find(is_file).map(|end| &path[..end]) else {
                continue;
            };
            let common = from
                .iter()
                .zip(to)
                .take_while(|(one, other)| one == other)
                .count();
            // A module names its children, and a child names its module.
            if let (Some(from), Some(to)) = (from.get(common), to.get(common)) {
                let edges = edges.entry(path[..common].to_vec()).or_default();
                edges.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    assert!(edges.len() > 2, "the folders of the stream: {edges:#?}");
    let circles = edges.iter().flat_map(|(folder, edges)| {
        let circles = paths::circles(edges).into_iter();
        circles.map(move |circle| format!("{}: {circle}", folder.join("/")))
    });
    let circles: Vec<String> = circles.collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// A name of a type of the stream means one thing: no other type of the crate has it, but for the simulator's, which is another
/// program that happens to live here.
#[test]
fn no_type_name_of_the_stream_means_two_things() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources(&["src"]) {
        // Of the two meters one is compiled, and the model is a test.
        let is_twin = ["meter_off", "model"].map(|file| format!("src/stream/{file}.rs"));
        let is_twin = is_twin.contains(&source.name);
        let is_apart = module(&source.name) == "sim";
        if is_twin || is_apart {
            continue;
        }
        for line in &source.outer {
            let rest = line.trim_start_matches("pub ");
            let rest = match rest.strip_prefix("pub(") {
                Some(rest) => rest.split_once(") ").map_or("", |(_, rest)| rest),
                None => rest,
            };
            let kinds = ["struct ", "enum ", "trait ", "type "];
            let Some(rest) = kinds.iter().find_map(|kind| rest.strip_prefix(kind)) else {
                continue;
            };
            let end = rest.find(|sign: char| !sign.is_alphanumeric());
            let name = rest[..end.unwrap_or(rest.len())].to_owned();
            places.entry(name).or_default().insert(source.name.clone());
        }
    }
    assert!(places.contains_key("TopicTable"), "{places:#?}");
    places.retain(|_, files| files.len() > 1 && files.iter().any(|file| module(file) == "stream"));
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn the_venue_and_the_stream_meet_in_the_contract_alone() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let banned: &[&str] = match module(&source.name) {
            "stream" => &["alpaca", "sim", "price_book"],
            "alpaca" => &["stream", "transport", "sim"],
            "transport" => &["alpaca", "sim", "manager", "stream"],
            "venue" | "market" | "order" => &["alpaca", "sim", "stream", "transport", "manager"],
            _ => continue,
        };
        for line in &source.outer {
            for word in banned {
                if names(line, word) && line.contains(&format!("{word}::")) {
                    wrong.push(format!("{}: {}", source.name, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_tool_is_used_in_one_place() {
    let walls: &[(&str, &[&str], &[&str])] = &[
        // An endpoint knows how addresses are written.
        (
            "std::net",
            &["net"],
            &["transport", "sim", "resolver", "key"],
        ),
        (
            "sockets",
            &["mio", "socket2", "TcpStream", "TcpListener"],
            &["transport", "sim"],
        ),
        (
            "TLS",
            &["rustls", "webpki_roots", "rustls_native_certs"],
            &["transport"],
        ),
        ("metrics", &["metrics"], &["stream"]),
        ("WebSockets", &["tungstenite"], &["transport", "sim"]),
        ("threads", &["Builder", "spawn"], &["thread"]),
        ("clocks", &["SystemTime::now", "Instant::now"], &["clock"]),
        ("std locks", &["RwLock", "Barrier"], &[]),
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let module = module(&source.name);
        for (what, words, places) in walls {
            if places.contains(&module) {
                continue;
            }
            for line in &source.outer {
                for word in *words {
                    let named = match *word {
                        "net" => line.contains("std::net") || (line.trim().starts_with("net::")),
                        "spawn" => {
                            names(line, "thread::Builder")
                                || line.contains("std::thread::spawn")
                                || line.contains("thread::scope")
                        }
                        "Builder" => line.contains("Builder::new().name"),
                        word => names(line, word),
                    };
                    if named {
                        wrong.push(format!("{what} in {}: {}", source.name, line.trim()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is `pub` can be reached from outside: a lint sees to that. What a macro declares is found by its name in `lib.rs`.
#[test]
fn every_public_type_is_shown_to_hide_secrets_or_has_no_place_for_one() {
    let (mut public, mut others) = (BTreeSet::new(), BTreeSet::new());
    for source in sources(&["src"]) {
        for line in &source.outer {
            let words: Vec<_> = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            match words.as_slice() {
                ["pub", "struct" | "enum", name, ..] if !name.is_empty() => {
                    public.insert((*name).to_owned());
                }
                ["pub", "trait" | "type", name, ..] => {
                    others.insert((*name).to_owned());
                }
                _ => {}
            }
        }
        let text = source.outer.join(" ");
        for names in text.split("pub use ").skip(1) {
            let names = names.split(';').next().unwrap();
            if !names.starts_with("self::") && !names.starts_with("crate::") {
                continue;
            }
            public.extend(
                names
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .filter(|name| {
                        name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
                    })
                    .map(ToOwned::to_owned),
            );
        }
    }
    // It holds the README's examples, and is there for them alone.
    public.remove("Readme");
    let public: BTreeSet<_> = public.difference(&others).map(String::as_str).collect();
    let (shown, data) = (
        types::SHOWN.split_whitespace(),
        types::DATA.split_whitespace(),
    );
    let listed: BTreeSet<_> = shown.chain(data).collect();
    let unlisted: Vec<_> = public.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&public).collect();
    assert!(
        unlisted.is_empty() && gone.is_empty(),
        "to be listed in `tests/secrets/types.rs`: {unlisted:?}; there no longer: {gone:?}"
    );
}

#[test]
fn some_things_stand_nowhere() {
    // In pieces, so that this file passes.
    let banned = [
        ["thread::", "sleep"].concat(),
        ["#[", "ignore"].concat(),
        ["to", "do!"].concat(),
        ["db", "g!"].concat(),
        ["unimple", "mented!"].concat(),
    ];
    let no_safety = ["un", "safe"].concat();
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "examples", "benches"]) {
        for line in &source.all {
            if banned.iter().any(|banned| line.contains(banned)) || names(line, &no_safety) {
                wrong.push(format!("{}: {}", source.name, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_repository_holds_nothing_but_what_belongs_there() {
    const ENTRIES: &[&str] = &[
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "clippy.toml",
        "deny.toml",
        ".ci",
        "src",
        "tests",
        "examples",
        "benches",
        ".git",
        ".gitignore",
        "target",
    ];
    let extra: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !ENTRIES.contains(&name.as_str()))
        .collect();
    assert!(extra.is_empty(), "{extra:?}");
}

/// The first example that is compiled and not run, of a page or of a module's documentation.
fn first_example(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| {
        let line = line.strip_prefix("//!").unwrap_or(line);
        line.strip_prefix(" ")
            .filter(|_| text.starts_with("//!"))
            .unwrap_or(line)
    });
    let code = lines.skip_while(|line| !line.ends_with("no_run")).skip(1);
    code.take_while(|line| *line != "```").collect()
}

/// It is read from top to bottom in the first hour, and what it says is there.
#[test]
fn the_readme_is_short_and_names_what_there_is() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines < 200, "{lines} lines");
    // Every file that it names, as a whole path in backticks.
    let named = readme.split('`').skip(1).step_by(2);
    let paths = named.filter(|name| {
        let folders = ["src/", "tests/", "examples/", "benches/"];
        folders.iter().any(|folder| name.starts_with(folder))
    });
    let missing: Vec<_> = paths.filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Its example is that of the documentation's first page, word for word.
    let page = read("src/lib.rs");
    let first = first_example(&readme);
    assert!(first.len() > 10, "{first:?}");
    assert_eq!(first, first_example(&page));
}

#[test]
fn every_example_stands_in_the_readme_and_those_that_teach_are_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.join("main.rs").exists() {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            readme.contains(&format!("\n| `{name}` | ")),
            "{name} is not in the table of examples"
        );
    }
    for (path, most) in [
        ("select.rs", 70),
        ("price_once.rs", 70),
        ("orders.rs", 70),
        ("quickstart/main.rs", 120),
    ] {
        let text = fs::read_to_string(root().join("examples").join(path)).unwrap();
        let lines = text.lines().count();
        assert!(lines < most, "{path} has {lines} lines");
    }
}

/// Two versions in one program would be two claim tables. Cargo is asked about a program that has both, whose packages
/// have nothing of this one but its name and its `links`.
#[test]
fn two_versions_in_one_program_are_refused() {
    const REFUSED: &str =
        "package `trunkline` links to the native library `trunkline`, but it conflicts";
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(REFUSED), "it says what Cargo says");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let package = manifest.split("\n[").next().unwrap();
    let links: Vec<_> = package
        .lines()
        .filter(|line| line.starts_with("links ") || line.starts_with("build "))
        .collect();
    let program = std::env::temp_dir().join(format!("trunkline-versions-{}", std::process::id()));
    let write = |path: &str, text: &str| {
        let path = program.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let package = |folder: &str, name: &str, version: &str, rest: &str| {
        write(
            &format!("{folder}/Cargo.toml"),
            &format!("[package]\nname = '{name}'\nversion = '{version}'\nedition = '2024'\n{rest}"),
        );
        write(&format!("{folder}/src/lib.rs"), "");
        write(&format!("{folder}/src/build.rs"), "fn main() {}");
    };
    let resolve = |links: &str| {
        package("one", "trunkline", "0.1.0", links);
        package("other", "trunkline", "0.2.0", links);
        let uses = "[dependencies]\ntrunkline.path = '../other'";
        package("between", "between", "0.1.0", uses);
        let uses = "[dependencies]\ntrunkline.path = '../one'\nbetween.path = '../between'\n";
        package("program", "program", "0.1.0", &format!("{uses}[workspace]"));
        let output = std::process::Command::new(env!("CARGO"))
            .args(["generate-lockfile", "--offline", "--manifest-path"])
            .arg(program.join("program/Cargo.toml"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let (with, without) = (resolve(&links.join("\n")), resolve(""));
    fs::remove_dir_all(&program).unwrap();
    assert!(!with.0 && with.1.contains(REFUSED), "{}", with.1);
    // It is `links` that does it.
    assert!(without.0, "{}", without.1);
}

#[test]
fn the_scanner_sees_code_and_only_code() {
    let code = bare(concat!(
        "let a = \"crate::x // no\"; // crate::y\n",
        "let b = r#\"crate::z \"quoted\" \"#; let c = '\"'; let d: &'static str = b\"\\\"\";\n",
        "/* crate::w */ use crate::{real::{A, B}, other}; use super::{a, b::C};\n",
    ));
    let lines: Vec<_> = code.lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines.len(), 3);
    let module = paths::module_of("src/one/two.rs");
    let named = paths::named(&module, &lines.join("\n"));
    let named: Vec<String> = named.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        named,
        ["real::A", "real::B", "other", "one::a", "one::b::C"]
    );
    let tests = ["#[cfg(test)]", "mod tests {", "a {", "}", "}", "kept"].map(ToOwned::to_owned);
    assert_eq!(without_tests(&tests), ["kept"]);
    assert!(names("a mio::b", "mio") && !names("a_mio", "mio"));
}
