//! The platter and the cache of the simulated disk: what is durable, what is only seen, and what a crash leaves.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::super::{Entry, EntryKind, parent_of};

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InodeId(u64);

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    File(InodeId),
    Directory,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    inodes: BTreeMap<InodeId, Inode>,
    /// Names as they are seen now.
    names: BTreeMap<PathBuf, Named>,
    /// Names on the platter.
    durable_names: BTreeMap<PathBuf, Named>,
    /// Changes of names since the directory's last sync, in order.
    name_changes: Vec<NameChange>,
    next_inode: u64,
}

#[derive(Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// One atomic change of a directory: names that are set or removed together.
#[derive(Clone, Debug)]
struct NameChange {
    names: Vec<(PathBuf, Option<Named>)>,
}

impl Disk {
    pub(super) fn find(&self, path: &Path) -> Option<InodeId> {
        match self.names.get(path) {
            Some(Named::File(inode)) => Some(*inode),
            _ => None,
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<InodeId> {
        self.check_parent(path)?;
        let inode = InodeId(self.next_inode);
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.change_names(vec![(path.to_path_buf(), Some(Named::File(inode)))]);
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_parent(to)?;
        let Some(Named::File(inode)) = self.names.get(from).copied() else {
            return Err(ErrorKind::NotFound.into());
        };
        self.change_names(vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(Named::File(inode)))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            None => Ok(()),
            Some(Named::Directory) => Err(ErrorKind::IsADirectory.into()),
            Some(Named::File(_)) => {
                self.change_names(vec![(path.to_path_buf(), None)]);
                Ok(())
            }
        }
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        if !self.list(path).is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        if self.names.contains_key(path) {
            self.change_names(vec![(path.to_path_buf(), None)]);
        }
        Ok(())
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|ancestor| !is_root(ancestor) && !self.names.contains_key(*ancestor))
            .map(Path::to_path_buf)
            .collect();
        for directory in missing.into_iter().rev() {
            self.change_names(vec![(directory, Some(Named::Directory))]);
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        if !is_root(path) && self.names.get(path) != Some(&Named::Directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let changes = std::mem::take(&mut self.name_changes);
        for change in changes {
            // A rename between directories is durable when either is synced: both logs are one in a journal.
            if change.names.iter().any(|(name, _)| parent_of(name) == path) {
                apply_names(&mut self.durable_names, &change);
            } else {
                self.name_changes.push(change);
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self
            .names
            .iter()
            .filter(|(name, _)| name.as_path() != path && parent_of(name) == path)
            .filter_map(|(name, named)| {
                let kind = if *named == Named::Directory { EntryKind::Directory } else { EntryKind::File };
                Some(Entry { name: name.file_name()?.to_string_lossy().into_owned(), kind })
            })
            .collect();
        entries.sort();
        entries
    }

    pub(super) fn file_len(&self, inode: InodeId) -> io::Result<u64> {
        Ok(self.inode(inode)?.seen.len() as u64)
    }

    pub(super) fn read(&self, inode: InodeId, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let seen = &self.inode(inode)?.seen;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
        let read = out.len().min(seen.len() - start);
        out[..read].copy_from_slice(&seen[start..start + read]);
        Ok(read)
    }

    pub(super) fn write(&mut self, inode: InodeId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let change = Change::Write { offset, bytes: bytes.to_vec() };
        let inode = self.inode_mut(inode)?;
        apply(&mut inode.seen, &change);
        inode.unsynced.push(change);
        Ok(())
    }

    pub(super) fn set_len(&mut self, inode: InodeId, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let inode = self.inode_mut(inode)?;
        apply(&mut inode.seen, &Change::Resize(len));
        inode.unsynced.push(Change::Resize(len));
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: InodeId) -> io::Result<()> {
        let inode = self.inode_mut(inode)?;
        for change in std::mem::take(&mut inode.unsynced) {
            apply(&mut inode.durable, &change);
        }
        Ok(())
    }

    /// A failed sync: the pages count as clean and are never written, though reads still see them.
    pub(super) fn drop_unsynced(&mut self, inode: InodeId) {
        if let Ok(inode) = self.inode_mut(inode) {
            inode.unsynced.clear();
        }
    }

    /// What is on the platter.
    pub(super) fn durable_copy(&self) -> Self {
        let inode = |inode: &Inode| Inode {
            seen: inode.durable.clone(),
            durable: inode.durable.clone(),
            unsynced: Vec::new(),
        };
        let mut copy = Self {
            inodes: self.inodes.iter().map(|(id, content)| (*id, inode(content))).collect(),
            names: self.durable_names.clone(),
            durable_names: self.durable_names.clone(),
            name_changes: Vec::new(),
            next_inode: self.next_inode,
        };
        copy.drop_orphans();
        copy
    }

    pub(super) fn flip(&mut self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let inode = self.find(path).ok_or(ErrorKind::NotFound)?;
        let inode = self.inode_mut(inode)?;
        let offset = usize::try_from(offset).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        *inode.seen.get_mut(offset).ok_or(ErrorKind::UnexpectedEof)? ^= mask;
        if let Some(byte) = inode.durable.get_mut(offset) {
            *byte ^= mask;
        }
        Ok(())
    }

    /// What was not synced is kept, lost or torn by chance.
    pub(super) fn lose_power(&mut self, seed: u64) {
        let mut chance = Chance(seed);
        let mood = Mood::of(&mut chance);
        for change in std::mem::take(&mut self.name_changes) {
            if mood.keeps(&mut chance) {
                apply_names(&mut self.durable_names, &change);
            }
        }
        for inode in self.inodes.values_mut() {
            for change in std::mem::take(&mut inode.unsynced) {
                if mood.keeps(&mut chance) {
                    apply(&mut inode.durable, &torn(change, mood, &mut chance));
                }
            }
            inode.seen = inode.durable.clone();
        }
        self.names = self.durable_names.clone();
        self.drop_orphans();
    }

    /// Names whose directory was lost are gone too, and so are files without a name.
    fn drop_orphans(&mut self) {
        let names = self.names.clone();
        let reachable = |path: &Path| {
            path.ancestors()
                .skip(1)
                .filter(|ancestor| !is_root(ancestor))
                .all(|ancestor| names.get(ancestor) == Some(&Named::Directory))
        };
        self.names.retain(|path, _| reachable(path));
        self.durable_names = self.names.clone();
        let named: Vec<InodeId> = self
            .names
            .values()
            .filter_map(|named| if let Named::File(inode) = named { Some(*inode) } else { None })
            .collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        let parent = parent_of(path);
        if is_root(parent) || self.names.get(parent) == Some(&Named::Directory) {
            return Ok(());
        }
        Err(ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, names: Vec<(PathBuf, Option<Named>)>) {
        let change = NameChange { names };
        apply_names(&mut self.names, &change);
        self.name_changes.push(change);
    }

    fn inode(&self, inode: InodeId) -> io::Result<&Inode> {
        self.inodes.get(&inode).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn inode_mut(&mut self, inode: InodeId) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

fn is_root(path: &Path) -> bool {
    path == Path::new("/") || path == Path::new(".") || path.as_os_str().is_empty()
}

fn apply_names(names: &mut BTreeMap<PathBuf, Named>, change: &NameChange) {
    for (name, named) in &change.names {
        match named {
            Some(named) => names.insert(name.clone(), *named),
            None => names.remove(name),
        };
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Resize(len) => content.resize(*len, 0),
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(bytes);
        }
    }
}

fn torn(change: Change, mood: Mood, chance: &mut Chance) -> Change {
    match change {
        Change::Write { offset, bytes } if mood == Mood::Mixed && chance.below(3) == 0 => {
            let cut = chance.below(bytes.len() as u64 + 1) as usize;
            if chance.below(2) == 0 {
                Change::Write { offset, bytes: bytes[..cut].to_vec() }
            } else {
                Change::Write { offset: offset + cut, bytes: bytes[cut..].to_vec() }
            }
        }
        other => other,
    }
}

/// How a crash treats what was not synced: all of one kind is as likely as a mixture, for both ends find bugs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    LosesAll,
    KeepsAll,
    Mixed,
}

impl Mood {
    fn of(chance: &mut Chance) -> Self {
        match chance.below(4) {
            0 => Mood::LosesAll,
            1 => Mood::KeepsAll,
            _ => Mood::Mixed,
        }
    }

    fn keeps(self, chance: &mut Chance) -> bool {
        match self {
            Mood::LosesAll => false,
            Mood::KeepsAll => true,
            Mood::Mixed => chance.below(2) == 0,
        }
    }
}

/// SplitMix64: a few good bits from any seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
