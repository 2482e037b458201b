//! Finds the actor that a person meant: by path, by the end of a path, or the nearest names to suggest.

const NAME_CHARS_MAX: usize = 200; // the distance costs its square

/// What a name written by a person stands for among actor paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meant<'a> {
    /// This one path.
    One(&'a str),
    /// The name is the end of several paths.
    Several(Vec<&'a str>),
    /// None; these are the nearest.
    None(Vec<&'a str>),
}

/// Looks `name` up among `paths`; suggests at most `suggestions_max`.
pub(crate) fn find<'a>(name: &str, paths: &[&'a str], suggestions_max: usize) -> Meant<'a> {
    if let Some(path) = paths.iter().find(|path| **path == name) {
        return Meant::One(path);
    }
    let ends_with_name = |path: &&&str| path.strip_suffix(name).is_some_and(|head| head.ends_with('/'));
    let ending: Vec<&str> =
        if name.is_empty() { Vec::new() } else { paths.iter().filter(ends_with_name).copied().collect() };
    match ending.as_slice() {
        [] => Meant::None(nearest(name, paths, suggestions_max)),
        [path] => Meant::One(path),
        _ => Meant::Several(ending.into_iter().take(suggestions_max).collect()),
    }
}

/// The paths nearest to `name`: those that contain it first, then by edit distance of the path or of its end.
fn nearest<'a>(name: &str, paths: &[&'a str], suggestions_max: usize) -> Vec<&'a str> {
    let name: Vec<char> = name.chars().take(NAME_CHARS_MAX).collect();
    let written: String = name.iter().collect();
    let mut ranked: Vec<(usize, &str)> = paths
        .iter()
        .filter_map(|path| {
            let contained = !written.is_empty() && path.contains(&written);
            let distance = if contained { 0 } else { distance_to_path(&name, path) };
            (distance <= name.len().div_ceil(2)).then_some((distance, *path))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().take(suggestions_max).map(|(_, path)| path).collect()
}

/// Distance to the path, or to as many of its last segments as the name has.
fn distance_to_path(name: &[char], path: &str) -> usize {
    let segments = name.iter().filter(|c| **c == '/').count() + 1;
    let from = path.rmatch_indices('/').nth(segments - 1).map_or(0, |(at, _)| at + 1);
    distance(name, path).min(distance(name, &path[from..]))
}

/// Levenshtein's edit distance, one row at a time.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().take(NAME_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{Meant, distance, find};

    const PATHS: [&str; 5] = [
        "job",
        "job/checkpoint",
        "worker/region-0/count/0",
        "worker/region-0/count/1",
        "worker/region-0/lines/0",
    ];

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn a_full_path_and_a_unique_end_are_found() {
        assert_eq!(find("job/checkpoint", &PATHS, 3), Meant::One("job/checkpoint"));
        assert_eq!(find("count/1", &PATHS, 3), Meant::One("worker/region-0/count/1"));
        assert_eq!(find("job", &PATHS, 3), Meant::One("job"));
    }

    #[test]
    fn an_end_of_several_paths_names_them() {
        assert_eq!(
            find("0", &PATHS, 3),
            Meant::Several(vec!["worker/region-0/count/0", "worker/region-0/lines/0"])
        );
    }

    #[test]
    fn a_misspelt_name_suggests_the_nearest_first() {
        assert_eq!(
            find("cuont/1", &PATHS, 2),
            Meant::None(vec!["worker/region-0/count/1", "worker/region-0/count/0"])
        );
        assert_eq!(
            find("count", &PATHS, 9),
            Meant::None(vec!["worker/region-0/count/0", "worker/region-0/count/1"])
        );
        assert_eq!(find("ckeckpoint", &PATHS, 1), Meant::None(vec!["job/checkpoint"]));
        assert_eq!(find("zzzzzzzzzzzz", &PATHS, 9), Meant::None(vec![]));
        assert_eq!(find("", &PATHS, 9), Meant::None(vec![]));
    }

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance(&chars("kitten"), "sitting"), 3);
        assert_eq!(distance(&chars(""), "abc"), 3);
        assert_eq!(distance(&chars("abc"), "abc"), 0);
    }
}
