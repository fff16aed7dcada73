//! A card image file (docs/card-image.md): refused with a sentence, or read, written and read again the same; with every
//! layout it stays a card that can exist or is refused; and the card that it describes can be read like any other.
//!
//! The first byte chooses the link and the second what the reader knows, as for a conversation with a card; the third
//! chooses a layout. The rest is the file.

use omadm_card::CardImage;
use omadm_card::image::{FORMAT, Layout};

use crate::card_conversation::read_repeatedly;
use crate::script::Script;

pub(crate) fn run(bytes: &[u8]) {
    let Some((&[card, knows, layout], file)) = bytes.split_first_chunk() else { return };
    let image = match CardImage::from_json(file) {
        Ok(image) => image,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(image.parts().format, FORMAT);
    assert_eq!(written_and_read(&image), image);
    read_repeatedly(&image, card, knows, Script::new(&[]));
    let Some(layout) = Layout::ALL.get(usize::from(layout) % Layout::ALL.len()) else { return };
    match layout.apply(image) {
        Ok(changed) => {
            assert_eq!(written_and_read(&changed), changed, "{}", layout.name());
            read_repeatedly(&changed, card, knows, Script::new(&[]));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn written_and_read(image: &CardImage) -> CardImage {
    CardImage::from_json(image.to_json().as_bytes()).expect("what was written can be read")
}
