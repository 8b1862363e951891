//! Files in a bucket.

use reqwest::header::{HeaderMap as Asked, HeaderValue, RANGE};

use super::fetched::kept_files;
use super::picture;
use crate::harness::{Bucket, NUMBER, Setup, on_both_with};

/// More than goes in one part.
const LARGE: usize = 20 * 1024 * 1024;

#[tokio::test]
async fn files_go_into_a_bucket_and_come_out_of_it() {
    let bucket = Bucket::default();
    let environment = bucket.start().await;
    let setup = environment
        .iter()
        .fold(Setup::default(), |setup, (name, value)| setup.with(name, value));
    let kept = bucket.clone();
    on_both_with(setup, async |harness| {
        kept.objects.lock().unwrap().clear();
        let large = vec![b'x'; LARGE];
        let file = harness.upload("text/plain", &large).await.expect(201);
        assert_eq!(kept.sizes(), [LARGE]);
        let link = file["link"].as_str().unwrap();
        let asked: Asked = [(RANGE, HeaderValue::from_static("bytes=5-9"))].into_iter().collect();
        let (status, headers, bytes) = harness.open(link, asked).await;
        assert_eq!((status, &bytes[..]), (206, &b"xxxxx"[..]));
        assert_eq!(headers["content-range"], format!("bytes 5-9/{LARGE}"));
        let (status, _, bytes) = harness.open(link, Asked::new()).await;
        assert_eq!((status, bytes.len()), (200, LARGE));

        harness
            .sandbox
            .write("amara", NUMBER, picture("https://pictures.example/1.jpg"))
            .unwrap();
        harness.projected().await;
        harness.file_stored().await;
        assert_eq!(kept.sizes().len(), 2);
        assert!(
            kept.objects
                .lock()
                .unwrap()
                .keys()
                .all(|key| key.starts_with("hub/media/"))
        );
        assert!(kept_files(harness).is_empty(), "nothing is left on the disk");

        harness.pass(std::time::Duration::from_hours(25)).await;
        tidings::media::sweep::sweep(harness.hub().app()).await.unwrap();
        assert_eq!(kept.sizes().len(), 1, "what was not used is gone");
    })
    .await;
    assert_eq!(*bucket.unsigned.lock().unwrap(), 0);
}
