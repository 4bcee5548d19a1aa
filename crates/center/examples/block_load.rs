//! Load generator for block-wise downloads over CoAP/UDP: the same program drives our Center and any
//! other CoAP server, so their CPU time per block can be compared (`benches/serve.sh`).
//!
//! Each client has its own socket and works in lockstep as RFC 7959 asks of a Block2 client: one
//! request, one answer, the next block; from the last block it starts over at block 0. Every payload
//! is compared with the file. The codec is written by hand on purpose: it shares nothing with the
//! server it measures.
//!
//! ```text
//! block_load --uri coap://127.0.0.1:5683/pkg --file pkg.bin --pid 1234 [--clients 1] [--blocks 200000] [--szx 6]
//! ```
//!
//! Prints one JSON object: blocks, seconds, blocks_per_second, mib_per_second, server_cpu_seconds,
//! server_cpu_seconds_per_100000_blocks, retransmissions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::UdpSocket;

/// RFC 7252's ACK_TIMEOUT; over loopback only a full socket buffer loses a datagram.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_RETRANSMIT: u32 = 4;

struct Load {
    server: SocketAddr,
    path: Vec<String>,
    file: Vec<u8>,
    szx: u8,
    /// Blocks still to be asked for, over all clients.
    left: AtomicU64,
    retransmissions: AtomicU64,
}

struct Answer<'a> {
    code: u8,
    block2: Option<u32>,
    echo: Option<&'a [u8]>,
    payload: &'a [u8],
}

fn main() -> Result<()> {
    let mut uri = None;
    let mut file = None;
    let mut pid = None;
    let (mut clients, mut blocks, mut szx) = (1u64, 200_000u64, 6u8);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--uri" => uri = Some(value),
            "--file" => file = Some(value),
            "--pid" => pid = Some(value.parse::<u32>()?),
            "--clients" => clients = value.parse()?,
            "--blocks" => blocks = value.parse()?,
            "--szx" => szx = value.parse()?,
            _ => bail!("unknown option {flag}"),
        }
    }
    ensure!(
        szx <= 6 && clients > 0 && blocks > 0,
        "--szx is 0..6, --clients and --blocks at least 1"
    );
    let uri = uri.context("--uri is missing")?;
    let rest = uri
        .strip_prefix("coap://")
        .context("--uri must begin with coap://")?;
    let (authority, path) = rest.split_once('/').context("--uri has no path")?;
    let file = file.context("--file is missing")?;
    let load = Arc::new(Load {
        server: authority.parse().context("--uri needs address:port")?,
        path: path.split('/').map(str::to_owned).collect(),
        file: std::fs::read(&file).with_context(|| format!("cannot read {file}"))?,
        szx,
        left: AtomicU64::new(blocks),
        retransmissions: AtomicU64::new(0),
    });
    let pid = pid.context("--pid is missing")?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cpu_before = cpu_seconds(pid)?;
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..clients {
            let load = load.clone();
            tasks.spawn(async move { run_client(&load, client).await });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let cpu = cpu_seconds(pid)? - cpu_before;
        println!(
            "{}",
            serde_json::json!({
                "clients": clients,
                "block_size": 16u32 << szx,
                "blocks": blocks,
                "seconds": seconds,
                "blocks_per_second": blocks as f64 / seconds,
                "mib_per_second": (blocks * (16 << szx)) as f64 / seconds / 1_048_576.0,
                "server_cpu_seconds": cpu,
                "server_cpu_seconds_per_100000_blocks": cpu * 100_000.0 / blocks as f64,
                "retransmissions": load.retransmissions.load(Ordering::Relaxed),
            })
        );
        Ok(())
    })
}

/// Takes blocks from the common budget until it is empty.
async fn run_client(load: &Load, client: u64) -> Result<()> {
    let socket = UdpSocket::bind(if load.server.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    })
    .await?;
    socket.connect(load.server).await?;
    let size = 16usize << load.szx;
    let last = (load.file.len() - 1) / size;
    let mut mid = client as u16;
    let mut echo: Vec<u8> = Vec::new();
    let mut request = Vec::with_capacity(160);
    let mut buffer = [0u8; 2048];
    let mut number = 0usize;
    loop {
        let taken = load
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if taken.is_err() {
            return Ok(());
        }
        loop {
            mid = mid.wrapping_add(1);
            encode(&mut request, load, mid, client as u32, number as u32, &echo);
            let answer = exchange(load, &socket, &request, mid, &mut buffer).await?;
            // RFC 9175: 4.01 with Echo means "show that you receive at this address".
            if answer.code == 0x81 && echo.is_empty() {
                echo = answer.echo.context("4.01 without Echo")?.to_vec();
                continue;
            }
            ensure!(
                answer.code == 0x45,
                "block {number}: code {}.{:02}",
                answer.code >> 5,
                answer.code & 31
            );
            let more = if number < last { 8 } else { 0 };
            let expected = (number as u32) << 4 | more | u32::from(load.szx);
            ensure!(
                answer.block2 == Some(expected),
                "block {number}: Block2 is {:?}",
                answer.block2
            );
            let from = number * size;
            let to = load.file.len().min(from + size);
            ensure!(
                answer.payload == &load.file[from..to],
                "block {number}: other bytes than the file"
            );
            break;
        }
        echo.clear();
        number = if number == last { 0 } else { number + 1 };
    }
}

/// Sends until the answer with this message id comes.
async fn exchange<'a>(
    load: &Load,
    socket: &UdpSocket,
    request: &[u8],
    mid: u16,
    buffer: &'a mut [u8; 2048],
) -> Result<Answer<'a>> {
    let mut timeout = ACK_TIMEOUT;
    for attempt in 0..=MAX_RETRANSMIT {
        if attempt > 0 {
            load.retransmissions.fetch_add(1, Ordering::Relaxed);
        }
        socket.send(request).await?;
        let deadline = tokio::time::Instant::now() + timeout;
        timeout *= 2;
        loop {
            let Ok(got) = tokio::time::timeout_at(deadline, socket.recv(buffer)).await else {
                break;
            };
            let n = got?;
            if n >= 4 && buffer[2..4] == mid.to_be_bytes() {
                return decode(&buffer[..n]).context("the answer is not CoAP");
            }
        }
    }
    bail!("no answer after {MAX_RETRANSMIT} retransmissions")
}

/// CON GET with a 4-byte token, Uri-Path, Block2 and, when asked for, Echo (RFC 7252 section 3).
fn encode(out: &mut Vec<u8>, load: &Load, mid: u16, token: u32, number: u32, echo: &[u8]) {
    out.clear();
    out.extend([0x44, 0x01]);
    out.extend(mid.to_be_bytes());
    out.extend(token.to_be_bytes());
    let mut previous = 0;
    for segment in &load.path {
        option(out, &mut previous, 11, segment.as_bytes());
    }
    let block = (number << 4 | u32::from(load.szx)).to_be_bytes();
    let skip = block.iter().take_while(|b| **b == 0).count();
    option(out, &mut previous, 23, &block[skip..]);
    if !echo.is_empty() {
        option(out, &mut previous, 252, echo);
    }
}

fn option(out: &mut Vec<u8>, previous: &mut u16, number: u16, value: &[u8]) {
    let (d, l) = (*previous, value.len() as u16);
    let (delta, delta_ext) = nibble(number - d);
    let (length, length_ext) = nibble(l);
    out.push(delta << 4 | length);
    out.extend(delta_ext);
    out.extend(length_ext);
    out.extend(value);
    *previous = number;
}

fn nibble(value: u16) -> (u8, Vec<u8>) {
    match value {
        0..13 => (value as u8, vec![]),
        13..269 => (13, vec![(value - 13) as u8]),
        _ => (14, (value - 269).to_be_bytes().to_vec()),
    }
}

fn decode(message: &[u8]) -> Option<Answer<'_>> {
    let mut answer = Answer {
        code: *message.get(1)?,
        block2: None,
        echo: None,
        payload: &[],
    };
    let mut rest = message.get(4 + usize::from(message[0] & 15)..)?;
    let mut number = 0usize;
    while let Some((&first, tail)) = rest.split_first() {
        if first == 0xff {
            answer.payload = tail;
            break;
        }
        rest = tail;
        let mut extended = |nibble: u8| -> Option<usize> {
            let (value, used) = match nibble {
                13 => (usize::from(*rest.first()?) + 13, 1),
                14 => (
                    usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])) + 269,
                    2,
                ),
                15 => return None,
                small => (usize::from(small), 0),
            };
            rest = rest.get(used..)?;
            Some(value)
        };
        number += extended(first >> 4)?;
        let length = extended(first & 15)?;
        let value = rest.get(..length)?;
        rest = &rest[length..];
        match number {
            23 => answer.block2 = Some(value.iter().fold(0, |n, b| n << 8 | u32::from(*b))),
            252 => answer.echo = Some(value),
            _ => {}
        }
    }
    Some(answer)
}

/// User and system time of the process: fields 14 and 15 of `/proc/<pid>/stat`, in ticks of 10 ms.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The command's name may hold spaces; the fields after it are counted from its ")".
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
