//! CRC-64 with the ECMA-182 polynomial, reflected, as Go's `hash/crc64` computes it
//! (`reference/raft-and-snapshots.md` section 9).

const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

/// Eight tables, so that eight bytes are taken at a time.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u64 = tables[table - 1][byte];
            tables[table][byte] = tables[0][(crc & 0xff) as usize] ^ (crc >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A checksum in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crc64 {
    sum: u64,
}

impl Crc64 {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut crc = !self.sum;
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut mixed = [0; 8];
            mixed.copy_from_slice(word);
            let mixed = (crc ^ u64::from_le_bytes(mixed)).to_le_bytes();
            crc = 0;
            for (place, byte) in mixed.into_iter().enumerate() {
                crc ^= TABLES[7 - place][usize::from(byte)];
            }
        }
        for byte in words.remainder() {
            crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
        }
        self.sum = !crc;
    }

    pub(crate) fn value(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_the_catalogue_however_the_bytes_are_cut() {
        for cut in 0..9 {
            let mut crc = Crc64::default();
            crc.update(&b"123456789"[..cut]);
            crc.update(&b"123456789"[cut..]);
            assert_eq!(crc.value(), 0x995d_c9bb_df19_39fa);
        }
    }
}
