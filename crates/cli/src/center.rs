//! `sota center`.

use crate::failure::Failure;
use crate::names;
use crate::out::Out;
use crate::stop::on_stop;
use serde_json::json;
use sota_center::{Center, Config};
use sota_errors::{CenterError, ProgramError};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Options of `sota center`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address and port of REST; port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen_http: SocketAddr,
    /// Address and port for devices (CoAP over UDP); port 0 = any free one.
    #[arg(long, default_value = "127.0.0.1:5683")]
    listen_coap: SocketAddr,
    /// HOST:PORT under which devices reach the packages, when that is not the address above.
    #[arg(long, value_name = "HOST:PORT")]
    coap_public: Option<String>,
    /// Folder of the database and the packages; made if it is not there.
    #[arg(long, default_value = "sota-center")]
    data: PathBuf,
    /// Id of the Plan object.
    #[arg(long, default_value_t = sota_center::DEFAULT_PLAN_OBJECT)]
    plan_object: u16,
    /// Address under which people reach the Center when a proxy speaks TLS for it, e.g. https://ota.example.com.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Let anyone make an account; otherwise only by an owner's invitation.
    #[arg(long)]
    open_sign_up: bool,
    /// File for a token of this run, for programs of the same user: with it they may do everything.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Further host name under which REST may be called; may be repeated.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Allow addresses that others can reach, although nothing is encrypted in this version.
    #[arg(long)]
    insecure_no_encryption: bool,
}

/// Serves until it is stopped.
pub(crate) fn run(args: Args, out: Out, until_eof: bool) -> Result<(), Failure> {
    if args.insecure_no_encryption {
        let warning = CenterError::UnencryptedWarning.entry();
        eprintln!(
            "warning {} {}: {}",
            warning.number, warning.name, warning.meaning
        );
    }
    names::folder(&args.data)?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| Failure::new(ProgramError::SocketFailed, e))?;
    runtime.block_on(async {
        let center = Center::open(Config {
            http: args.listen_http,
            coap: args.listen_coap,
            coap_public: args.coap_public,
            insecure_no_encryption: args.insecure_no_encryption,
            hosts: args.host,
            public_url: args.public_url,
            open_sign_up: args.open_sign_up,
            token_file: args.token_file,
            plan_object: args.plan_object,
            ..Config::new(&args.data)
        })
        .await?;
        let handle = center.stop_handle();
        on_stop(until_eof, move || handle.stop())?;
        let (http, coap) = (center.http_address(), center.coap_address());
        out.line(
            format_args!(
                "Center: pages on http://{http}, REST on http://{http}/api/v1 (description: /openapi.json), \
                 devices on coap://{coap}, data in {}{}",
                args.data.display(),
                match center.set_up_link() {
                    Some(link) => format!("\nMake the first account here (the link works once): {link}"),
                    None => String::new(),
                }
            ),
            json!({ "http": http.to_string(), "coap": coap.to_string(), "set_up": center.set_up_link() }),
        );
        center.serve().await?;
        Ok(())
    })
}
