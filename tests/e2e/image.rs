//! Images for the templates that unpack one, made of a busybox rootfs on the spot.

use std::path::{Path, PathBuf};

use crate::lab::Lab;

/// What an image brings as config, but the lines of a user namespace.
const CONFIG: &str = "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.signal.halt = SIGUSR1\n";

/// `rootfs.tar.xz` and `meta.tar.xz`, as lxc-local and lxc-download want them.
pub(crate) struct Image {
    pub(crate) directory: PathBuf,
}

impl Image {
    /// Makes the two in a directory of the lab that is not there yet.
    pub(crate) fn make(lab: &Lab, relative: &str) -> Self {
        Self::make_of(lab, relative, |_| ())
    }

    /// The same, with what `furnish` puts into the rootfs.
    pub(crate) fn make_of(lab: &Lab, relative: &str, furnish: impl FnOnce(&Path)) -> Self {
        let directory = lab.path(relative);
        lab.call_as_root(["mkdir", "-p"]).arg(&directory).outcome().success();
        let rootfs = rootfs(lab);
        furnish(&rootfs);
        tar(lab, &directory.join("rootfs.tar.xz"), &rootfs, &["."]);
        Self::around(lab, directory)
    }

    /// Adds `meta.tar.xz` to a directory that has a `rootfs.tar.xz`.
    pub(crate) fn around(lab: &Lab, directory: PathBuf) -> Self {
        let meta = lab.directory("meta");
        lab.write("meta/config", CONFIG);
        let user = format!("{CONFIG}lxc.include = LXC_TEMPLATE_CONFIG/userns.conf\n");
        lab.write("meta/config-user", &user);
        lab.write("meta/templates", "etc/issue\n");
        lab.write("meta/excludes-user", "./dev\n");
        lab.write("meta/create-message", "a busybox of the test's own\n");
        // No build is newer, but a cache must know until when it is good.
        lab.write("meta/expiry", "32503680000\n");
        let files = ["config", "config-user", "templates", "excludes-user", "create-message"];
        let files: Vec<_> = files.into_iter().chain(["expiry"]).collect();
        tar(lab, &directory.join("meta.tar.xz"), &meta, &files);
        Self { directory }
    }

    /// The keys of a layer whose template unpacks it.
    pub(crate) fn upstream(&self) -> String {
        format!(
            "template = \"local\"\nargs = {{ metadata = \"{}\", fstree = \"{}\" }}",
            self.meta().display(),
            self.rootfs().display()
        )
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs.tar.xz")
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.directory.join("meta.tar.xz")
    }
}

/// Makes an OCI layout, and returns its URL.
pub(crate) fn oci(lab: &Lab) -> String {
    let rootfs = rootfs(lab);
    let layout = lab.path("layout");
    let image = format!("{}:latest", layout.display());
    let umoci = |words: &[&str]| lab.call_as_root(["umoci"]).args(words).outcome().success();
    umoci(&["init", "--layout", &layout.display().to_string()]);
    umoci(&["new", "--image", &image]);
    umoci(&["insert", "--image", &image, &rootfs.display().to_string(), "/"]);
    umoci(&["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.env", "OCI=1"]);
    // umoci makes directories that are root's alone.
    lab.call_as_root(["chmod", "-R", "a+rX"]).arg(layout).outcome().success();
    format!("oci:{image}")
}

/// Makes a rootfs with nothing but a static busybox in it, owned by root.
fn rootfs(lab: &Lab) -> PathBuf {
    let name = lab.name("image");
    let images = lab.path("images");
    std::fs::create_dir(&images).expect("the directory is new");
    let config = lab.write("images.conf", "lxc.net.0.type = empty\n");
    lab.call_as_root(["lxc-create", "-t", "busybox", "-n", &name])
        .arg("-P")
        .arg(&images)
        .arg("-f")
        .arg(config)
        .outcome()
        .success();
    let rootfs = images.join(name).join("rootfs");
    // A line for the template to fill in, so that its own work shows beside the layers'.
    std::fs::write(rootfs.join("etc/issue"), "this is LXC_NAME\n").expect("root writes");
    rootfs
}

fn tar(lab: &Lab, archive: &Path, directory: &Path, files: &[&str]) {
    lab.call_as_root(["tar", "--numeric-owner", "-cJf"])
        .env("XZ_OPT", "-0")
        .arg(archive)
        .arg("-C")
        .arg(directory)
        .args(files)
        .outcome()
        .success();
}
