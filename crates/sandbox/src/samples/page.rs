//! A PDF of one page.

use std::fmt::Write;

/// The page says what it is, and where it would come from.
pub(super) fn make(address: &str) -> Vec<u8> {
    let from: String = address
        .chars()
        .filter(|letter| (' '..='~').contains(letter) && !"()\\".contains(*letter))
        .take(80)
        .collect();
    let text = format!(
        "BT /F1 22 Tf 60 770 Td (A sample document) Tj /F1 12 Tf 0 -32 Td (Made by the Tidings sandbox.) Tj 0 -18 Td ({from}) Tj ET\n\
         60 700 m 535 700 l S"
    );
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut places = String::new();
    // Writing to a text can't fail.
    for (position, object) in objects.iter().enumerate() {
        let _ = writeln!(places, "{:010} 00000 n ", pdf.len());
        let _ = write!(pdf, "{} 0 obj\n{object}\nendobj\n", position + 1);
    }
    let start = pdf.len();
    let count = objects.len() + 1;
    let _ = write!(pdf, "xref\n0 {count}\n0000000000 65535 f \n{places}");
    let _ = write!(
        pdf,
        "trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    pdf.into_bytes()
}
