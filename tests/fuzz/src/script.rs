//! Any bytes as a script, read and compiled: mistakes are reported, never a panic (Kamailio's configuration language).
use std::io;
use std::path::Path;

use proxyd::modules::MODULES;
use proxyd::script::compile::Additions;
use proxyd::script::compile::compile;
use proxyd::script::parse;
use proxyd::script::preprocess::Files;
use proxyd::script::preprocess::Options;

struct One<'a>(&'a [u8]);

impl Files for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // A script that includes itself would be read without end: only the first name is there.
        if path == Path::new("fuzz.cfg") {
            Ok(self.0.to_vec())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

pub const SEEDS: &[&[u8]] = &[
    b"#!KAMAILIO\n#!define PORT 5060\nlisten=udp:127.0.0.1:PORT\nloadmodule \"sl.so\"\nmodparam(\"tm\", \"fr_timer\", 5000)\n\
        request_route {\n    if (is_method(\"INVITE|ACK\") && $rU =~ \"^[0-9]+$\") { route(RELAY); }\n    $var(x) = $(ru{uri.user}) + 1;\n\
        while ($var(x) < 3) { $var(x) = $var(x) + 1; }\n    switch ($rm) { case \"BYE\": exit; default: sl_send_reply(\"404\", \"No\"); }\n}\n\
        route[RELAY] { t_relay(); }\n",
    b"#!ifdef WITH_X\nimport_file \"other.cfg\"\n#!else\n#!subst \"/a/b/g\"\n#!endif\n/* c */ failure_route[F] { xlog(\"L_ERR\", \"$rs\\n\"); }\n",
];

pub fn run(data: &[u8]) {
    let parsed = parse::load(&One(data), Path::new("fuzz.cfg"), &Options::default());
    let compiled = compile(parsed, MODULES, &Additions::default());
    let text = compiled.found.render(compiled.program.sources(), true);
    assert!(compiled.is_ok() || !text.is_empty(), "a mistake is told");
}
