//! Which files a pattern means: a file, all files of a directory, or names with `*` and `?`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The files that match, sorted by path.
///
/// A directory means its files, hidden ones left out; `*` and `?` match within one name and do not match a leading dot.
pub(crate) fn matching_files(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let path = Path::new(pattern);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return files_of(path),
        Ok(_) => return Ok(vec![path.to_path_buf()]),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(cause) => return Err(Error::Read { action: "look at", path: path.into(), cause }),
    }
    let mut places = vec![PathBuf::new()];
    for component in path.components() {
        let name = component.as_os_str().to_string_lossy();
        if !has_wildcard(&name) {
            places.iter_mut().for_each(|place| place.push(component));
            continue;
        }
        let mut matched = Vec::new();
        for place in &places {
            matched.extend(entries(place)?.into_iter().filter(|entry| name_matches(&name, entry)));
        }
        places = matched;
    }
    let mut files: Vec<PathBuf> = places.into_iter().filter(|place| place.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Says why nothing matches.
pub(crate) fn nothing_matches(pattern: &str) -> Error {
    let path = Path::new(pattern);
    let directory =
        path.ancestors().skip(1).find(|ancestor| ancestor.as_os_str().is_empty() || ancestor.is_dir());
    let shown = match directory {
        Some(directory) if !directory.as_os_str().is_empty() => directory.display().to_string(),
        _ => std::env::current_dir().unwrap_or_default().display().to_string(),
    };
    let problem = if path.is_dir() {
        "the directory holds no file".to_owned()
    } else {
        format!("{shown} is there, the rest is not; relative paths begin at the working directory")
    };
    Error::NoFile { pattern: pattern.to_owned(), problem }
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files: Vec<PathBuf> =
        entries(directory)?.into_iter().filter(|path| !is_hidden(path) && path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let in_place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = match fs::read_dir(in_place) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(cause) => return Err(Error::Read { action: "list", path: in_place.into(), cause }),
    };
    entries
        .map(|entry| entry.map(|entry| directory.join(entry.file_name())))
        .collect::<Result<_, _>>()
        .map_err(|cause| Error::Read { action: "list", path: in_place.into(), cause })
}

fn has_wildcard(name: &str) -> bool {
    name.contains(['*', '?'])
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn name_matches(pattern: &str, path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else { return false };
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    wildcard_matches(&pattern, &name)
}

/// Greedy matching that goes back to the last `*` only, so it takes at most pattern times name steps.
fn wildcard_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        name_matches(pattern, Path::new(name))
    }

    #[test]
    fn wildcards_match_within_a_name() {
        assert!(matches("*.csv", "a.csv") && matches("*", "a") && matches("a*b*c", "aXbYbZc"));
        assert!(matches("part-?.csv", "part-1.csv") && matches("***", "x"));
        assert!(!matches("*.csv", "a.csv.gz") && !matches("part-?.csv", "part-10.csv"));
        assert!(!matches("*", ".hidden") && matches(".h*", ".hidden"));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the input of a test need not survive a crash")]
    fn directories_and_patterns_find_files_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        for name in ["x/b.csv", "x/a.csv", "x/.hidden", "y/c.csv", "y/sub/d.csv"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().ok_or("no parent")?)?;
            fs::write(path, "1")?;
        }
        let find = |pattern: &str| -> Result<Vec<String>, Error> {
            let found = matching_files(&root.path().join(pattern).display().to_string())?;
            let short = |path: &PathBuf| {
                path.strip_prefix(root.path()).map(|path| path.display().to_string()).unwrap_or_default()
            };
            Ok(found.iter().map(short).collect())
        };
        assert_eq!(find("x")?, ["x/a.csv", "x/b.csv"]);
        assert_eq!(find("*/*.csv")?, ["x/a.csv", "x/b.csv", "y/c.csv"]);
        assert_eq!(find("y/*/d.csv")?, ["y/sub/d.csv"]);
        assert_eq!(find("?/c.csv")?, ["y/c.csv"]);
        assert_eq!(find("nowhere/*.csv")?, Vec::<String>::new());
        let error = nothing_matches(&root.path().join("x/*.json").display().to_string()).to_string();
        assert!(error.contains("*.json") && error.contains("/x is there"), "{error}");
        Ok(())
    }
}
