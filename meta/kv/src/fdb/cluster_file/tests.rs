use super::*;

#[test]
fn cluster_files_are_told_from_others() {
    let good = [
        "docker:docker@127.0.0.1:4500",
        "ember:a1B2@10.0.0.1:4500,10.0.0.2:4500:tls\n",
        "# written by fdbcli\n\nember:x@[::1]:4500 # here\n",
        "ember:x@db.example:4500",
    ];
    for content in good {
        assert_eq!(check(content), Ok(()), "{content:?}");
    }
    let bad = [
        ("", "0 lines"),
        ("# only this\n", "0 lines"),
        ("a:b@c:1\na:b@c:1\n", "2 lines"),
        ("10.0.0.1:4500", "\"10.0.0.1:4500\""),
        ("a:b@", "\"a:b@\""),
        ("a:@10.0.0.1:1", "\"a:@10.0.0.1:1\""),
        ("a:b@10.0.0.1:1,10.0.0.2", "\"a:b@10.0.0.1:1,10.0.0.2\""),
    ];
    for (content, found) in bad {
        assert_eq!(check(content), Err(found.to_owned()), "{content:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let path = Path::new("/nonexistent/fdb.cluster");
    let error = checked(path).unwrap_err();
    assert!(matches!(error, ClusterFileError::Unreadable { .. }));
    let text = error.to_string();
    assert!(text.starts_with("cluster file /nonexistent/fdb.cluster: No such file"), "{text}");
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    let error = checked(Path::new("a\0b")).unwrap_err();
    assert!(matches!(error, ClusterFileError::Path { .. }), "{error}");
}
