//! Writes an image in the form that is asked for.

use std::io;

use super::image::Image;
use super::output::Output;
use super::target::{Target, TargetKind};
use super::warnings::Warnings;
use super::{archive_file, directory, incus, oci, proxmox};
use crate::tree::Interrupt;

impl Image {
    /// Writes it, and returns what could not be written. `output` says whom files belong to.
    ///
    /// # Errors
    ///
    /// Also when interrupted.
    pub(crate) fn write(
        &self,
        target: &Target,
        output: Output,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Warnings> {
        let mut warnings = Warnings::default();
        self.warn_of_sidecar(&mut warnings)?;
        for (entry, _) in &self.layers {
            for path in &entry.fixed {
                warnings.add("the placeholder of a name stays in", path);
            }
        }
        match &target.kind {
            TargetKind::Directory => {
                directory::write(self, &target.path, &mut warnings, interrupt)?;
            }
            TargetKind::Incus => {
                incus::write(self, &target.path, output, &mut warnings, interrupt)?;
            }
            TargetKind::Tar(compression) => {
                if let Some(last) = self.layers.len().checked_sub(1) {
                    proxmox::warn(self.listing(last)?, &self.rootfs()?, &mut warnings);
                }
                archive_file::write_file(&target.path, *compression, output, interrupt, |to| {
                    self.write_whole(to, &mut warnings, interrupt)
                })?;
            }
            TargetKind::Oci(tag) => {
                oci::write(self, &target.path, tag, output, &mut warnings, interrupt)?;
            }
            TargetKind::LxcLocal => {
                archive_file::write_lxc_local(
                    self,
                    &target.path,
                    output,
                    &mut warnings,
                    interrupt,
                )?;
            }
        }
        Ok(warnings)
    }
}
