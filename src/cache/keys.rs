//! The keys and names that are taken out of what is stored, and made for each container by programs of
//! its own.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What makes a container itself and was taken out of an entry, to be made for each container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityKeys {
    /// The types of the SSH host keys.
    pub ssh: Vec<String>,
    /// The types of dropbear's host keys.
    pub dropbear: Vec<String>,
    /// Whether there is a snakeoil certificate.
    pub snakeoil: bool,
    /// Whether there is a name of an iSCSI initiator.
    pub iscsi: bool,
}

/// The types of SSH host keys that every `ssh-keygen` makes.
const SSH_TYPES: [&str; 3] = ["rsa", "ecdsa", "ed25519"];

/// Something that is made for each container, by a program of its rootfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMaker {
    /// What is made: a path of the rootfs.
    pub path: String,
    /// The command that makes it, for a shell, where `$LXC_NAME` is the container's name.
    pub command: String,
}

impl IdentityKeys {
    /// Leaves out those whose files are at these paths.
    pub fn leave_out<P: AsRef<Path>>(&mut self, paths: &[P]) {
        let is_kept = |path: String| paths.iter().any(|kept| kept.as_ref() == Path::new(&path));
        self.ssh.retain(|kind| !is_kept(format!("/etc/ssh/ssh_host_{kind}_key")));
        self.dropbear.retain(|kind| !is_kept(format!("/etc/dropbear/dropbear_{kind}_host_key")));
        self.snakeoil &= !is_kept("/etc/ssl/private/ssl-cert-snakeoil.key".to_owned())
            && !is_kept("/etc/ssl/certs/ssl-cert-snakeoil.pem".to_owned());
        self.iscsi &= !is_kept("/etc/iscsi/initiatorname.iscsi".to_owned());
    }

    /// Adds those of `other`.
    pub fn add(&mut self, other: Self) {
        self.ssh.extend(other.ssh);
        self.dropbear.extend(other.dropbear);
        for list in [&mut self.ssh, &mut self.dropbear] {
            list.sort();
            list.dedup();
        }
        self.snakeoil |= other.snakeoil;
        self.iscsi |= other.iscsi;
    }

    /// Returns how they are made in a rootfs, of which `has` tells what paths are there. What it has no
    /// program for is left to the container.
    pub fn makers(&self, has: impl Fn(&str) -> bool) -> Vec<KeyMaker> {
        let mut makers = Vec::new();
        let mut add = |path: String, command: String| makers.push(KeyMaker { path, command });
        let in_path = |program: &str| {
            ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
                .iter()
                .any(|directory| has(&format!("{directory}/{program}")))
        };
        if !has("/bin/sh") {
            return makers;
        }
        if has("/etc/ssh") && in_path("ssh-keygen") {
            for kind in self.ssh.iter().filter(|kind| SSH_TYPES.contains(&kind.as_str())) {
                let file = format!("/etc/ssh/ssh_host_{kind}_key");
                let command = format!(
                    "[ -e {file} ] || ssh-keygen -q -t {kind} -N '' -C \"root@$LXC_NAME\" \
                     -f {file} </dev/null"
                );
                add(file, command);
            }
        }
        if has("/etc/dropbear") && in_path("dropbearkey") {
            for kind in &self.dropbear {
                let file = format!("/etc/dropbear/dropbear_{kind}_host_key");
                let command =
                    format!("[ -e {file} ] || dropbearkey -t {kind} -f {file} >/dev/null");
                add(file, command);
            }
        }
        if self.snakeoil && in_path("make-ssl-cert") {
            add(
                "/etc/ssl/private/ssl-cert-snakeoil.key".to_owned(),
                "make-ssl-cert generate-default-snakeoil --force-overwrite".to_owned(),
            );
        }
        if self.iscsi && has("/etc/iscsi") && in_path("iscsi-iname") {
            let file = "/etc/iscsi/initiatorname.iscsi".to_owned();
            let command = format!(
                "[ -e {file} ] || (umask 077; echo \"InitiatorName=$(iscsi-iname)\" >{file})"
            );
            add(file, command);
        }
        makers
    }
}
