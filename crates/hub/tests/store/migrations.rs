//! The schema's steps.

use tidings::store::MigrateError;

use crate::harness::on_both;

#[test]
fn migrating_twice_runs_nothing_the_second_time() {
    on_both(async |lab| {
        // The harness has migrated already.
        assert_eq!(lab.store.migrate(lab.clock.now()).await.unwrap(), Vec::<&str>::new());
        let now = lab.clock.now();
        assert_eq!(
            lab.store.write(move |tx| tx.migrate(now)).await.unwrap(),
            Vec::<&str>::new()
        );
    });
}

#[test]
fn two_nodes_that_start_at_once_migrate_once() {
    on_both(async |lab| {
        let tables = lab.texts("SELECT name FROM schema_migrations ORDER BY number");
        lab.execute("DELETE FROM schema_migrations");
        // Without its tables a step can be run again, and must be run by one of the two alone.
        drop_all_tables(lab);
        let other = lab.another_store().await;
        let (ours, theirs) = tokio::join!(lab.store.migrate(lab.clock.now()), other.migrate(lab.clock.now()));
        let mut run = [ours.unwrap(), theirs.unwrap()];
        run.sort();
        assert_eq!(run, [vec![], tables.iter().map(String::as_str).collect::<Vec<_>>()]);
        other.close().await;
    });
}

fn drop_all_tables(lab: &crate::harness::Lab) {
    let tables = if lab.is_postgres() {
        lab.texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
    } else {
        lab.texts("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    };
    for table in tables.iter().filter(|table| *table != "schema_migrations") {
        lab.execute(&format!("DROP TABLE {table}"));
    }
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do() {
    on_both(async |lab| {
        lab.execute(
            "INSERT INTO schema_migrations (number, name, checksum, applied_at) VALUES (9999, '9999_later', 'abc', 0)",
        );
        let error = lab.store.migrate(lab.clock.now()).await.unwrap_err();
        assert!(
            matches!(error, MigrateError::Newer { found: 9999, known } if known < 9999),
            "{error:?}"
        );
        assert!(error.to_string().contains("start the newer version"), "{error}");
    });
}

#[test]
fn a_step_that_was_run_in_another_form_is_refused() {
    on_both(async |lab| {
        lab.execute("UPDATE schema_migrations SET checksum = 'other' WHERE number = 1");
        let error = lab.store.migrate(lab.clock.now()).await.unwrap_err();
        assert!(
            matches!(&error, MigrateError::Changed { name } if name == "0001_first"),
            "{error:?}"
        );
    });
}
