//! A descriptor of what this process may not open, and one with other ids may.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{WaitOptions, waitpid};

use super::kernel::{self, ForkResult};
use super::userns::{self, Ids};

/// Opens something in a user namespace of its own, and returns its descriptor.
///
/// # Errors
///
/// Those of `open`, by their number in Linux; and where the namespace cannot be entered.
pub(crate) fn opened_in(
    ids: Option<Ids>,
    open: impl FnOnce() -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let (here, there) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    match kernel::fork()? {
        ForkResult::Child => kernel::leave_after(|| {
            let opened = userns::enter(ids).and_then(|()| open());
            u8::from(send(&there, opened).is_err())
        }),
        ForkResult::Parent(child) => {
            std::mem::forget(open);
            drop(there);
            let opened = receive(&here);
            retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
            opened
        }
    }
}

/// Sends a descriptor, or the number of why there is none.
fn send(to: impl AsFd, opened: io::Result<OwnedFd>) -> io::Result<()> {
    let fault = |error: &io::Error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    let number = opened.as_ref().err().map_or(0, fault).to_ne_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let opened = opened.ok();
    let descriptors = opened.as_ref().map(|opened| [opened.as_fd()]);
    if let Some(descriptors) = &descriptors {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(to, &[IoSlice::new(&number)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(from: impl AsFd) -> io::Result<OwnedFd> {
    let mut number = [0; size_of::<i32>()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    retry_on_intr(|| {
        let mut text = [IoSliceMut::new(&mut number)];
        recvmsg(&from, &mut text, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut messages = ancillary.drain();
    let received = messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| match i32::from_ne_bytes(number) {
        // It has ended without a word.
        0 => io::ErrorKind::PermissionDenied.into(),
        number => io::Error::from_raw_os_error(number),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_descriptor_arrives_or_why_there_is_none() {
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let inode = |file: &File| file.metadata().unwrap().ino();
        let file = File::open("/proc/self/stat").unwrap();
        let expected = inode(&file);
        send(&there, Ok(file.into())).unwrap();
        assert_eq!(inode(&receive(&here).unwrap().into()), expected);
        send(&there, Err(Errno::NOENT.into())).unwrap();
        assert_eq!(receive(&here).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(there);
        assert_eq!(receive(&here).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
