//! The one form of a member's header: a POSIX ustar block (IEEE Std 1003.1, `pax`) in which only the name
//! and the size vary (rule C3). A block is never interpreted: it is built again and compared.

use super::id::BundleId;
use super::member::MemberName;

/// Bytes of a block. Headers are one block long, contents are padded with zeros to whole blocks.
pub(super) const BLOCK: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The header of a member of `size` bytes, below 8 GiB (rule C10 allows far less).
///
/// The same bytes as GNU tar's for `--format=ustar --mode=0600 --owner=0 --group=0 --numeric-owner --mtime=@0`.
pub(super) fn header_block(id: &BundleId, name: &MemberName, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let path = format!("{}/{name}", id.folder());
    block[..path.len()].copy_from_slice(path.as_bytes());
    octal(&mut block[100..107], 0o600); // mode
    octal(&mut block[108..115], 0); // uid
    octal(&mut block[116..123], 0); // gid
    octal(&mut block[124..135], size);
    octal(&mut block[136..147], 0); // mtime
    block[156] = b'0'; // a regular file
    block[257..265].copy_from_slice(b"ustar\x0000"); // magic and version
    octal(&mut block[329..336], 0); // devmajor
    octal(&mut block[337..344], 0); // devminor

    // The checksum is taken with blanks in its own place.
    block[CHECKSUM].fill(b' ');
    let sum = block.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut block[148..154], sum);
    block[154] = 0;
    block
}

/// What a block says of a member: its path, with the folder, and its size. Only a guess, until
/// [`header_block`] of it gives the same block. `None` if the size is not 11 octal digits and a NUL.
pub(super) fn guess(block: &[u8; BLOCK]) -> Option<(&[u8], u64)> {
    let name = &block[NAME];
    let path = &name[..name.iter().position(|&byte| byte == 0).unwrap_or(name.len())];
    let digits = block[SIZE].strip_suffix(&[0])?;
    let size = digits.iter().try_fold(0, |size, digit| match digit {
        b'0'..=b'7' => Some(size << 3 | u64::from(digit - b'0')),
        _ => None,
    })?;
    Some((path, size))
}

/// Bytes of zeros that fill the last block of a content of `size` bytes.
pub(super) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Fills `field` with the octal digits of `value`.
fn octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tar_crate_reads_it() {
        let name = MemberName::Part { stream: 3, part: 1 };
        let block = header_block(&BundleId([0xab; 32]), &name, 8 * 1024 * 1024);
        let header = tar::Header::from_byte_slice(&block);
        assert_eq!(&*header.path_bytes(), b"kbpack-abababababababab/s/000003/000001");
        assert_eq!(header.size().unwrap(), 8 * 1024 * 1024);
        assert_eq!(header.mode().unwrap(), 0o600);
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let mut summed = header.clone();
        summed.set_cksum();
        assert_eq!(summed.cksum().unwrap(), header.cksum().unwrap());
        assert_eq!(&block[154..156], b"\0 ");
    }

    #[test]
    fn a_guess_gives_name_and_size_back() {
        let block = header_block(&BundleId([0; 32]), &MemberName::Sums, 0o1234567);
        assert_eq!(guess(&block), Some((&b"kbpack-0000000000000000/SHA256SUMS"[..], 0o1234567)));
        for size in
            [&b"00000000008\0"[..], b"000000000001", b" 0000000001\0", b"\x80\0\0\0\0\0\0\0\0\0\0\x01"]
        {
            let mut odd = block;
            odd[SIZE].copy_from_slice(size);
            assert_eq!(guess(&odd), None);
        }
    }

    #[test]
    fn padding_fills_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
