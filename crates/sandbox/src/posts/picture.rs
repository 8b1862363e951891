//! A poster: a record on a coloured ground, upright, as PNG. The same seed gives the same picture.

use crate::samples::png;

const WIDTH: usize = 216;
const HEIGHT: usize = 384;
/// How many of the palette's colours the ground goes through.
const GROUND: usize = 192;
const VINYL: u8 = 192;
const GROOVE: u8 = 193;
const LABEL: u8 = 194;
const HOLE: u8 = 195;
const SHINE: u8 = 196;

/// The picture of a post.
pub(crate) fn picture(seed: &[u8]) -> Vec<u8> {
    let byte = |position: usize| seed.get(position).copied().unwrap_or_default();
    let hue = (u32::from(byte(0)) * 360 / 256) as u16;
    let (above, below) = (
        colour(hue, 62, 58),
        colour((hue + 40 + u16::from(byte(1)) / 4) % 360, 70, 34),
    );
    let mut palette = Vec::with_capacity(3 * 256);
    for step in 0..GROUND {
        for (from, to) in above.into_iter().zip(below) {
            let mixed = usize::from(from) * (GROUND - 1 - step) + usize::from(to) * step;
            palette.push((mixed / (GROUND - 1)) as u8);
        }
    }
    palette.extend([24, 22, 28]);
    palette.extend([44, 42, 50]);
    palette.extend(colour((hue + 180) % 360, 70, 60));
    palette.extend([245, 243, 238]);
    palette.extend([92, 90, 100]);
    palette.resize(3 * 256, 0);

    let centre = (
        (WIDTH / 2) as i32 + i32::from(byte(2) % 41) - 20,
        (HEIGHT / 3) as i32 + i32::from(byte(3) % 61) - 36,
    );
    let radius = 68 + i32::from(byte(4) % 22);
    let mut pixels = Vec::with_capacity(HEIGHT * (WIDTH + 1));
    for y in 0..HEIGHT {
        // Each line begins with its filter: none.
        pixels.push(0);
        for x in 0..WIDTH {
            let (right, down) = (x as i32 - centre.0, y as i32 - centre.1);
            let squared = right * right + down * down;
            let within = |radius: i32| squared < radius * radius;
            let ground = (y * 3 + x) * (GROUND - 1) / (HEIGHT * 3 + WIDTH);
            pixels.push(if within(4) {
                HOLE
            } else if within(radius / 3) {
                LABEL
            } else if within(radius) {
                // Two beams of light, and a groove every few pixels.
                let beam = (right * 2 + down * 3).abs() * 7 < (right * 3 - down * 2).abs();
                let distance = f64::from(squared).sqrt() as i32;
                if beam && distance % 5 != 0 {
                    SHINE
                } else if distance % 5 == 0 {
                    GROOVE
                } else {
                    VINYL
                }
            } else {
                ground as u8
            });
        }
    }
    png::write((WIDTH, HEIGHT), Some(&palette), &pixels)
}

/// From hue (degrees), saturation and lightness (percent).
fn colour(hue: u16, saturation: u16, lightness: u16) -> [u8; 3] {
    let (saturation, lightness) = (f64::from(saturation) / 100.0, f64::from(lightness) / 100.0);
    let strength = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|offset| {
        let turn = (offset + f64::from(hue) / 30.0) % 12.0;
        let part = lightness - strength * (turn - 3.0).min(9.0 - turn).clamp(-1.0, 1.0);
        (part * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn every_seed_makes_a_picture() {
        for byte in 0..=u8::MAX {
            assert!(picture(&[byte; 32]).starts_with(b"\x89PNG"));
        }
        assert_ne!(picture(&[1; 32]), picture(&[2; 32]));
    }
}
