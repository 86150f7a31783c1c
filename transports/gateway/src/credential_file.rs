//! Files with credentials, read whole and only where no other user could have read or changed them (AUTH-21).
//!
//! The mode is that of the file which is open, so a link is judged by its target and a file cannot be exchanged between the
//! look and the reading. Kubernetes mounts a secret as a link to a file of root that the group may read: that passes. Who may
//! write the directories above is left to the operator.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Largest file that is read, in bytes. 64 RSA keys of 4,096 bits take less than 64 KiB.
const MAX_BYTES: u64 = 1 << 20;
/// Write permission of the group and of all others.
const OTHERS_WRITE: u32 = 0o022;
/// Read permission of all others.
const OTHERS_READ: u32 = 0o004;
/// Read permission of the group.
const GROUP_READS: u32 = 0o040;
/// The user id of root.
const ROOT: u32 = 0;

/// What a file holds, which decides who may read it. Only its owner may ever write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A secret, a private key or a token: for its owner alone, or for a group where root is the owner.
    Secret,
    /// Public keys, certificates, digests: any user may read them.
    Public,
}

/// Reads a file of which it is known what it holds.
///
/// # Errors
/// What is wrong and the cure, in one line that begins with the path and repeats nothing of the file.
pub(crate) fn read(path: &Path, holds: Holds) -> Result<String, String> {
    read_as(path, |_| holds)
}

/// Reads a file that says by its text what it holds.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_as(path: &Path, holds: impl FnOnce(&str) -> Holds) -> Result<String, String> {
    let at = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let file = File::open(path).map_err(|error| at(&error))?;
    let metadata = file.metadata().map_err(|error| at(&error))?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| at(&error))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(at(&format!("larger than {MAX_BYTES} bytes")));
    }
    let owner = Owner::of(metadata.uid(), rustix::process::geteuid().as_raw());
    match refusal(metadata.mode() & 0o7777, owner, holds(&text)) {
        None => Ok(text),
        Some(Refusal { what, cure }) => {
            Err(format!("{}: {what} (mode {:04o}): {cure} {0}", path.display(), metadata.mode() & 0o7777))
        }
    }
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Root,
    Gateway,
    Another,
}

impl Owner {
    fn of(uid: u32, gateway: u32) -> Self {
        match uid {
            ROOT => Self::Root,
            uid if uid == gateway => Self::Gateway,
            _ => Self::Another,
        }
    }
}

/// Why a file is not taken, and the command that mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    what: &'static str,
    cure: &'static str,
}

fn refusal(mode: u32, owner: Owner, holds: Holds) -> Option<Refusal> {
    if mode & OTHERS_WRITE != 0 {
        let cure = if holds == Holds::Secret { "chmod 600" } else { "chmod 644" };
        return Some(Refusal { what: "other users can change this file", cure });
    }
    if holds == Holds::Public {
        return None;
    }
    if mode & OTHERS_READ != 0 {
        return Some(Refusal { what: "other users can read this secret", cure: "chmod 600" });
    }
    match owner {
        _ if mode & GROUP_READS == 0 => None,
        Owner::Root => None,
        Owner::Gateway => Some(Refusal { what: "other users of the group can read this secret", cure: "chmod 600" }),
        Owner::Another => {
            Some(Refusal { what: "another user owns this secret and its group can read it", cure: "chown root" })
        }
    }
}

/// What a file looked like: whether it has to be read again. Replacing a file, moving a link and `chmod` change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
}

impl Stamp {
    /// That of a file now; `None` while there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            bytes: found.size(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn auth_21_who_else_may_read_or_write_a_file_decides_whether_it_is_taken() {
        use Holds::{Public, Secret};
        use Owner::{Another, Gateway, Root};
        // Every mode of group and others, against the rule as a sentence.
        for bits in 0..0o100_u32 {
            let mode = 0o600 | bits;
            let written = bits & 0o020 != 0 || bits & 0o002 != 0;
            let read_by_all = bits & 0o004 != 0;
            let read_by_group = bits & 0o040 != 0;
            for owner in [Root, Gateway, Another] {
                assert_eq!(refusal(mode, owner, Public).is_some(), written, "{mode:o} {owner:?}");
                let refused = written || read_by_all || (read_by_group && owner != Root);
                assert_eq!(refusal(mode, owner, Secret).is_some(), refused, "{mode:o} {owner:?}");
            }
        }
        assert_eq!(refusal(0o644, Gateway, Secret).unwrap().cure, "chmod 600");
        assert_eq!(refusal(0o440, Root, Secret), None, "as Kubernetes mounts it with an fsGroup");
        assert_eq!((Owner::of(0, 0), Owner::of(7, 7), Owner::of(7, 8)), (Root, Gateway, Another));
    }

    #[test]
    fn auth_21_a_file_is_judged_by_the_target_of_a_link_and_by_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("..data"), directory.path().join("key"));
        std::fs::write(&file, "public").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mode = |bits| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(bits)).unwrap();
        let holds = |text: &str| if text == "public" { Holds::Public } else { Holds::Secret };
        mode(0o644);
        assert_eq!(read_as(&link, holds).as_deref(), Ok("public"));
        std::fs::write(&file, "hush").unwrap();
        let said = read_as(&link, holds).unwrap_err();
        assert!(said.ends_with(&format!("(mode 0644): chmod 600 {}", link.display())), "{said}");
        assert!(!said.contains("hush") && !said.contains('\n'), "{said}");
        let before = Stamp::of(&link).unwrap();
        mode(0o600);
        assert_ne!(Stamp::of(&link), Some(before), "the cure is noticed");
        assert_eq!(read_as(&link, holds).as_deref(), Ok("hush"));
        for bits in [0o620, 0o602] {
            mode(bits);
            assert!(read(&link, Holds::Public).is_err(), "{bits:o}");
        }
    }

    #[test]
    fn auth_21_what_is_no_text_or_too_large_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        for bytes in [vec![0xff_u8; 3], vec![b'x'; (1 << 20) + 1]] {
            std::fs::write(&file, bytes).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(read(&file, Holds::Secret).is_err());
        }
        assert!(read(directory.path(), Holds::Public).is_err());
        assert!(read(&directory.path().join("absent"), Holds::Public).unwrap_err().contains("No such file"));
        assert_eq!(Stamp::of(&directory.path().join("absent")), None);
    }
}
