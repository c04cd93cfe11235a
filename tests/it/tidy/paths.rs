//! Which files the code of a file names, as far as paths show it.

use std::collections::{BTreeMap, BTreeSet};

/// A path of modules: `src/stream/topics/rows.rs` is `["stream", "topics", "rows"]`.
pub(crate) type Path = Vec<String>;

/// The module that a file under `src` is.
pub(crate) fn module_of(file: &str) -> Path {
    let file = file.strip_prefix("src/").unwrap_or(file);
    let parts = file.trim_end_matches(".rs").split('/');
    parts
        .filter(|part| *part != "mod")
        .map(ToOwned::to_owned)
        .collect()
}

/// All paths from the root of the crate that `code` names, in text and in `use` lists. `code` is that of `module`.
pub(crate) fn named(module: &Path, code: &str) -> Vec<Path> {
    let mut found = Vec::new();
    for prefix in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(prefix) {
            if code[..at].ends_with(|before: char| is_word(before) || before == ':') {
                continue;
            }
            let mut rest = &code[at..];
            let mut base = match prefix {
                "crate::" => Vec::new(),
                _ => module.clone(),
            };
            while let Some(behind) = rest.strip_prefix("super::") {
                base.pop();
                rest = behind;
            }
            let rest = rest.strip_prefix("crate::").unwrap_or(rest);
            let rest = rest.strip_prefix("self::").unwrap_or(rest);
            expand(&base, rest, &mut found);
        }
    }
    found
}

/// What the modules offer under a path of their own although it stands in a child: `use self::child::Item`.
pub(crate) fn aliases<'a>(
    files: impl Iterator<Item = (&'a Path, &'a str)>,
) -> BTreeMap<Path, Path> {
    let mut aliases = BTreeMap::new();
    for (module, code) in files {
        for (at, begin) in code.match_indices("use self::") {
            let mut items = Vec::new();
            expand(module, &code[at + begin.len()..], &mut items);
            for item in items {
                let mut alias = module.clone();
                alias.extend(item.last().cloned());
                if alias != item {
                    aliases.insert(alias, item);
                }
            }
        }
    }
    aliases
}

/// Where an item stands, if its path leads through `aliases`.
pub(crate) fn resolve(mut path: Path, aliases: &BTreeMap<Path, Path>) -> Path {
    // A chain of aliases is as long as the tree is deep.
    for _ in 0..8 {
        let known = (1..=path.len()).find_map(|end| Some((end, aliases.get(&path[..end])?)));
        let Some((end, target)) = known else { break };
        path = target.iter().chain(&path[end..]).cloned().collect();
    }
    path
}

/// Children of one module that name each other in a circle, each with those that it names.
pub(crate) fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let in_circle = edges
        .keys()
        .filter(|from| reached(from, edges).contains(from));
    in_circle
        .map(|from| format!("{from} names {:?}", edges[from]))
        .collect()
}

fn reached<'a>(
    from: &'a String,
    edges: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(from) = next.pop() {
        let targets = edges.get(from).into_iter().flatten();
        next.extend(targets.filter(|target| seen.insert(*target)));
    }
    seen
}

/// The paths of one `use` tree, or the one path that begins `rest`.
fn expand(base: &Path, rest: &str, found: &mut Vec<Path>) {
    let rest = rest.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        for entry in entries(list) {
            expand(base, &entry, found);
        }
        return;
    }
    let end = rest.find(|sign| !is_word(sign)).unwrap_or(rest.len());
    let mut path = base.clone();
    if end > 0 && &rest[..end] != "self" {
        path.push(rest[..end].to_owned());
    }
    match rest[end..].strip_prefix("::") {
        Some(behind) if end > 0 => expand(&path, behind, found),
        _ => found.push(path),
    }
}

/// The entries of a brace list, up to its end.
fn entries(list: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut depth = 1;
    for sign in list.chars() {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                entries.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        entries.last_mut().unwrap().push(sign);
    }
    entries
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}
