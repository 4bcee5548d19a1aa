//! Datagrams as a person reads them.

use sota_coap::{Message, option};

/// One datagram in a few words: type, code, message id, path, block, bytes of payload.
pub fn datagram(bytes: &[u8]) -> String {
    let Ok(message) = Message::new_checked(bytes) else {
        return format!("{} bytes that are no CoAP message", bytes.len());
    };
    let path: Vec<String> = message
        .path()
        .map(|part| {
            let text = String::from_utf8_lossy(part);
            text.chars().take(16).collect()
        })
        .collect();
    let mut text = format!(
        "{:?} {} mid {}",
        message.kind(),
        message.code(),
        message.message_id()
    );
    if !path.is_empty() {
        text.push_str(&format!(" /{}", path.join("/")));
    }
    if let Some(Ok(block)) = message.block(option::BLOCK2) {
        text.push_str(&format!(" block {} of {}", block.num, block.szx.bytes()));
    }
    if !message.payload().is_empty() {
        text.push_str(&format!(", {} bytes", message.payload().len()));
    }
    text
}
