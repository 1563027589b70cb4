//! Recognises files that are certainly not text by their beginning.

/// The number of bytes of a file that are examined.
const SEEN: usize = 4096;

const MAGIC: &[(&[u8], &str)] = &[
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ\x90\0", "a Windows program"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x1f\x8b\x08", "gzip inside gzip or zstd"),
    (b"\x28\xb5\x2f\xfd", "zstd inside gzip or zstd"),
    (b"\xfd7zXZ\0", "xz inside gzip or zstd"),
];

/// What the (decompressed) beginning of a file seems to be; `None` if it is text.
///
/// Control bytes decide. Text has tabs, line ends, colour escapes, perhaps one more as a separator (FIX messages have 0x01
/// between fields), and NULs where a crash left a hole. Compressed and other binary data have all kinds of control bytes,
/// about one byte in nine. A NUL in every second byte means UTF-16.
pub(super) fn kind(head: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(what);
    }
    let head = &head[..head.len().min(SEEN)];
    let nuls = |parity: usize| head.iter().skip(parity).step_by(2).filter(|&&b| b == 0).count();
    // The numbers of NULs at even and at odd offsets.
    let (even, odd) = (nuls(0), nuls(1));
    if head.len() >= 8 && even.max(odd) * 2 > head.len() * 4 / 5 && even.min(odd) * 20 < head.len() {
        return Some("UTF-16 without a byte order mark (iconv -f UTF-16LE or UTF-16BE -t UTF-8 converts it)");
    }
    let mut kinds = [false; 256];
    let unusual = head.iter().filter(|&&b| b.is_ascii_control() && !b"\t\r\n\x1b\0".contains(&b));
    let count = unusual.inspect(|&&b| kinds[usize::from(b)] = true).count();
    let many = count * 20 > head.len() && kinds.iter().filter(|&&kind| kind).count() >= 4;
    many.then_some("binary data")
}

/// Whether a tar archive begins here: by its mark, or, of those before POSIX, by the checksum of its first header.
pub(super) fn is_tar(head: &[u8]) -> bool {
    if head.get(257..262) == Some(b"ustar") {
        return true;
    }
    let Some(header) = head.get(..512) else { return false };
    let written = std::str::from_utf8(&header[148..156]).ok().map(|sum| sum.trim_matches(['\0', ' ']));
    let written = written.and_then(|sum| u32::from_str_radix(sum, 8).ok());
    let summed = |(at, &byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(byte) };
    header[0] != 0 && written == Some(header.iter().enumerate().map(summed).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_data_is_seen() {
        let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(kind(&noise), Some("binary data"));
        let utf16: Vec<u8> = "Jan 1 started\n".bytes().flat_map(|b| [b, 0]).collect();
        assert!(kind(&utf16).unwrap().contains("UTF-16"));
        assert!(kind(&utf16[1..]).unwrap().contains("UTF-16"));
        assert!(kind(b"\x7fELF\x02\x01").unwrap().contains("ELF"));
        assert!(kind(b"\x1f\x8b\x08\0").unwrap().contains("gzip inside"));
    }

    #[test]
    fn archives_are_seen() {
        let mut header = [0; 512];
        header[..5].copy_from_slice(b"a.log");
        header[100..107].copy_from_slice(b"0000644");
        let sum = header.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(is_tar(&header));
        header[0] = b'b';
        assert!(!is_tar(&header) && !is_tar(&[0; 512]) && !is_tar(b"a line of text\n"));
        header[257..262].copy_from_slice(b"ustar");
        assert!(is_tar(&header));
    }

    #[test]
    fn text_with_unusual_bytes_is_text() {
        let hole = [b"a line\n".to_vec(), vec![0; 3000], b"next\n".to_vec()].concat();
        let texts: [&[u8]; 5] = [
            b"8=FIX.4.2\x019=5\x0135=0\x01\n",
            b"\x1b[31mred\x1b[0m\x1b[32m\n",
            b"\xe9\xe8\xff latin\n",
            b"a\0b\n\xff\n",
            &hole,
        ];
        texts.iter().for_each(|text| assert_eq!(kind(text), None, "{text:?}"));
    }
}
