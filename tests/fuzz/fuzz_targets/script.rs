//! Any bytes as a script: mistakes are reported, never a panic (Kamailio's configuration language).
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use proxyd::script::parse;
use proxyd::script::preprocess::Files;
use proxyd::script::preprocess::Options;

struct One<'a>(&'a [u8]);

impl Files for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // A script that includes itself would be read without end: only the first name is there.
        if path == Path::new("fuzz.cfg") { Ok(self.0.to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fuzz_target!(|data: &[u8]| {
    let parsed = parse::load(&One(data), Path::new("fuzz.cfg"), &Options::default());
    let _ = format!("{:?}", parsed.found);
});
