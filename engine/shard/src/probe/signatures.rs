//! Magic numbers at fixed places of the start, as data.
//!
//! Sources: the kernel's headers (`include/uapi/linux/magic.h` and those of the file systems) and
//! the tables of libblkid, which `wipefs` and `mkfs` go by. Not everything that ever existed is
//! listed: what is not falls under "unknown data" and is refused just the same.

/// What a match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole device belongs to something else.
    Volume,
    /// A file system.
    FileSystem,
}

/// Bytes that give something away; all parts have to match.
pub(super) struct Signature {
    /// What operators call it.
    pub(super) name: &'static str,
    /// What a match means.
    pub(super) kind: Kind,
    /// Positions and bytes.
    pub(super) parts: &'static [(u64, &'static [u8])],
}

const fn volume(name: &'static str, parts: &'static [(u64, &'static [u8])]) -> Signature {
    Signature { name, kind: Kind::Volume, parts }
}

const fn files(name: &'static str, parts: &'static [(u64, &'static [u8])]) -> Signature {
    Signature { name, kind: Kind::FileSystem, parts }
}

const MD: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0];
const BCACHE: &[u8] = &[
    0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81,
];
const BCACHEFS: &[u8] = &[
    0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef,
];

const LVM2: &str = "LVM2 physical volume";
const MD_MEMBER: &str = "Linux software RAID member";
const LUKS2: &str = "LUKS2 encrypted volume";
const SWAP: &str = "swap space";
const HIBERNATED: &str = "swap space with a hibernated system";

/// Looked through in this order within a kind.
#[rustfmt::skip]
pub(super) const SIGNATURES: &[Signature] = &[
    volume("Ceph BlueStore", &[(0, b"bluestore block device")]),
    volume(MD_MEMBER, &[(0, MD)]),
    volume(MD_MEMBER, &[(4096, MD)]),
    // A label stands in one of the first four sectors.
    volume(LVM2, &[(0, b"LABELONE"), (24, b"LVM2 001")]),
    volume(LVM2, &[(512, b"LABELONE"), (536, b"LVM2 001")]),
    volume(LVM2, &[(1024, b"LABELONE"), (1048, b"LVM2 001")]),
    volume(LVM2, &[(1536, b"LABELONE"), (1560, b"LVM2 001")]),
    volume("LUKS1 encrypted volume", &[(0, b"LUKS\xba\xbe\0\x01")]),
    volume(LUKS2, &[(0, b"LUKS\xba\xbe\0\x02")]),
    volume("LUKS encrypted volume", &[(0, b"LUKS\xba\xbe")]),
    // The second header survives where the first one was wiped.
    volume(LUKS2, &[(0x4000, b"SKUL\xba\xbe")]),
    volume(LUKS2, &[(0x8000, b"SKUL\xba\xbe")]),
    volume(LUKS2, &[(0x10000, b"SKUL\xba\xbe")]),
    volume(LUKS2, &[(0x20000, b"SKUL\xba\xbe")]),
    volume(LUKS2, &[(0x40000, b"SKUL\xba\xbe")]),
    volume(LUKS2, &[(0x80000, b"SKUL\xba\xbe")]),
    volume(LUKS2, &[(0x10_0000, b"SKUL\xba\xbe")]),
    volume("BitLocker encrypted volume", &[(3, b"-FVE-FS-")]),
    volume("dm-integrity device", &[(0, b"integrt\0")]),
    volume("dm-verity hash device", &[(0, b"verity\0\0")]),
    volume("VDO volume", &[(0, b"dmvdo001")]),
    volume("Stratis pool member", &[(516, b"!Stra0tis\x86\xff\x02^\x41rh")]),
    volume("Oracle ASM disk", &[(32, b"ORCLDISK")]),
    volume("VMware VMFS volume", &[(0x10_0000, &[0x0d, 0xd0, 0x01, 0xc0])]),
    volume("bcache device", &[(4096 + 24, BCACHE)]),
    // At the end of the first page, whose size the host decides.
    volume(SWAP, &[(0x0ff6, b"SWAPSPACE2")]),
    volume(SWAP, &[(0x1ff6, b"SWAPSPACE2")]),
    volume(SWAP, &[(0x3ff6, b"SWAPSPACE2")]),
    volume(SWAP, &[(0x7ff6, b"SWAPSPACE2")]),
    volume(SWAP, &[(0xfff6, b"SWAPSPACE2")]),
    volume(SWAP, &[(0x0ff6, b"SWAP-SPACE")]),
    volume(HIBERNATED, &[(0x0ff6, b"S1SUSPEND")]),
    volume(HIBERNATED, &[(0x0ff6, b"S2SUSPEND")]),
    volume(HIBERNATED, &[(0x0ff6, b"ULSUSPEND")]),
    volume(HIBERNATED, &[(0x0ff6, b"LINHIB0001")]),

    files("XFS", &[(0, b"XFSB")]),
    files("btrfs", &[(0x10040, b"_BHRfS_M")]),
    files("bcachefs", &[(4096 + 24, BCACHEFS)]),
    files("F2FS", &[(1024, &[0x10, 0x20, 0xf5, 0xf2])]),
    files("NTFS", &[(3, b"NTFS    ")]),
    files("ReFS", &[(3, b"\0\0\0\0ReFS\0")]),
    files("exFAT", &[(3, b"EXFAT   ")]),
    files("FAT32", &[(0x52, b"FAT32   "), (510, &[0x55, 0xaa])]),
    files("FAT16", &[(0x36, b"FAT16   "), (510, &[0x55, 0xaa])]),
    files("FAT12", &[(0x36, b"FAT12   "), (510, &[0x55, 0xaa])]),
    files("FAT", &[(0x36, b"FAT     "), (510, &[0x55, 0xaa])]),
    files("SquashFS", &[(0, b"hsqs")]),
    files("SquashFS", &[(0, b"sqsh")]),
    files("EROFS", &[(1024, &[0xe2, 0xe1, 0xf5, 0xe0])]),
    files("cramfs", &[(0, &[0x45, 0x3d, 0xcd, 0x28])]),
    files("ISO 9660", &[(0x8001, b"CD001")]),
    files("UDF", &[(0x8001, b"BEA01")]),
    files("UDF", &[(0x9001, b"BEA01")]),
    files("APFS", &[(32, b"NXSB")]),
    files("HFS+", &[(1024, &[b'H', b'+', 0, 4])]),
    files("HFSX", &[(1024, &[b'H', b'X', 0, 5])]),
    files("JFS", &[(0x8000, b"JFS1")]),
    files("ReiserFS", &[(0x10034, b"ReIsEr")]),
    files("NILFS2", &[(1024, &[2, 0, 0, 0, 0, 0, 0x34, 0x34])]),
    files("GFS2", &[(0x10000, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1])]),
    files("OCFS2", &[(0x400, b"OCFSV2")]),
    files("OCFS2", &[(0x800, b"OCFSV2")]),
    files("OCFS2", &[(0x1000, b"OCFSV2")]),
    files("OCFS2", &[(0x2000, b"OCFSV2")]),
];
