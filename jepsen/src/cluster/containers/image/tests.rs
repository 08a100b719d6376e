use super::*;

#[test]
fn libraries_are_taken_from_where_the_loader_takes_them() {
    let said = "\tlinux-vdso.so.1 (0x00007fb4083cd000)\n\
        \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fb40033e000)\n\
        \t/lib64/ld-linux-x86-64.so.2 (0x00007fb4083cf000)\n";
    let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
    assert_eq!(paths(said), expected);
    assert!(paths("\tnot a dynamic executable\n").is_empty());
}

#[test]
fn every_library_of_this_program_is_there() {
    let program = std::env::current_exe().expect("this program has a path");
    let libraries = shared_libraries(&program).expect("ldd runs");
    assert!(libraries.iter().any(|path| path.to_string_lossy().contains("libc.so")), "{libraries:?}");
    assert!(libraries.iter().all(|path| path.exists()), "{libraries:?}");
}
