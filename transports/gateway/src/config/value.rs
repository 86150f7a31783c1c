//! The value types of the settings: each is parsed once, by the same code for flags, environment and file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use eventwire_protocol::Dialect;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Address to listen on.
///
/// Written as `127.0.0.1:4800`, `[::1]:4800`, `localhost:4800` or `4800` alone; the last two mean `127.0.0.1`. Port 0 takes any free port.
/// Other host names are refused: which of their addresses would be meant is not ours to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4800))
    }
}

impl Listen {
    /// Whether only programs on this machine can reach the address.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(address));
        }
        let port = text.strip_prefix("localhost:").unwrap_or(text);
        port.parse::<u16>()
            .map(|port| Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)))
            .map_err(|_| "expected an IP address with a port, such as 127.0.0.1:4800 or 0.0.0.0:80".to_owned())
    }
}

/// A listener: an address, and the dialect of the clients that come there.
///
/// Written as `ADDRESS`, `ADDRESS=DIALECT`, or `DIALECT` alone, which means the address where that system's frontends look
/// for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where; `None` for the address that belongs to the dialect.
    pub address: Option<Listen>,
    /// What is spoken there where a request does not say.
    pub dialect: Dialect,
}

impl Default for Listener {
    fn default() -> Self {
        Self { address: Some(Listen::default()), dialect: Dialect::Canonical }
    }
}

impl Listener {
    /// The address.
    #[must_use]
    pub fn listen(self) -> Listen {
        self.address.unwrap_or_else(|| default_listen(self.dialect))
    }
}

/// Where the frontends of a system look for it, on loopback; 4800 for our own.
#[must_use]
pub const fn default_port(dialect: Dialect) -> u16 {
    match dialect.family() {
        Dialect::Monadic => 4567,
        Dialect::Product => 5634,
        Dialect::Amiga => 3000,
        Dialect::SharedContext => match dialect {
            // Where pages of later releases look.
            Dialect::SharedContextTools => 34567,
            _ => 8080,
        },
        Dialect::Adw => match dialect {
            Dialect::AdwTrigger => 8500,
            _ => 9104,
        },
        _ => 4800,
    }
}

fn default_listen(dialect: Dialect) -> Listen {
    Listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), default_port(dialect)))
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.dialect) {
            (Some(address), Dialect::Canonical) => address.fmt(f),
            (Some(address), dialect) => write!(f, "{address}={}", dialect.as_str()),
            (None, Dialect::Canonical) => self.listen().fmt(f),
            (None, dialect) => f.write_str(dialect.as_str()),
        }
    }
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(dialect) = Dialect::from_name(text) {
            return Ok(Self { address: None, dialect });
        }
        let (address, dialect) = text.split_once('=').unwrap_or((text, "canonical"));
        let address = Some(address.parse()?);
        Ok(Self { address, dialect: dialect_of(dialect)? })
    }
}

fn dialect_of(name: &str) -> Result<Dialect, String> {
    Dialect::from_name(name.trim()).ok_or_else(|| {
        let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        format!("no dialect {:?}; there are {}", name.trim(), names.join(", "))
    })
}

/// Something that belongs to the listeners of one dialect, or to the only listener: `VALUE` or `DIALECT=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct For {
    /// The dialect; `None` for the only listener.
    pub dialect: Option<Dialect>,
    /// What belongs to it.
    pub value: String,
}

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dialect {
            Some(dialect) => write!(f, "{}={}", dialect.as_str(), self.value),
            None => f.write_str(&self.value),
        }
    }
}

impl FromStr for For {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let named =
            text.split_once('=').and_then(|(name, value)| Some((Dialect::from_name(name.trim())?, value.trim())));
        let (dialect, value) = named.map_or((None, text), |(dialect, value)| (Some(dialect), value));
        if value.is_empty() {
            return Err("expected a value, or DIALECT=VALUE".to_owned());
        }
        Ok(Self { dialect, value: value.to_owned() })
    }
}

/// Addresses that are named together: one address, or a network.
///
/// Written as `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that addresses share.
    bits: u8,
}

impl Network {
    /// Whether an address belongs to it. An IPv4 address is the same when it is mapped into IPv6.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()) & mask(32, self.bits) as u32 == 0,
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()) & mask(128, self.bits) == 0,
            _ => false,
        }
    }
}

/// The upper `bits` of a word of `width` bits.
fn mask(width: u8, bits: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    let lower = u128::MAX.checked_shr(128 - u32::from(width.saturating_sub(bits))).unwrap_or(0);
    all & !lower
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == whole { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected an address or a network, such as 10.0.0.7 or 10.0.0.0/8".to_owned();
        let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(it, bits)| (it, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let Some(bits) = bits else {
            let address = address.to_canonical();
            return Ok(Self { address, bits: if address.is_ipv4() { 32 } else { 128 } });
        };
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let (width, beyond) = match address {
            IpAddr::V4(v4) => (32, u128::from(v4.to_bits()) & !mask(32, bits.min(32))),
            IpAddr::V6(v6) => (128, v6.to_bits() & !mask(128, bits.min(128))),
        };
        if bits > width {
            return Err(wrong());
        }
        if beyond != 0 {
            return Err(format!(
                "{address} has bits behind the first {bits}; leave them zero, or write the address alone"
            ));
        }
        Ok(Self { address, bits })
    }
}

/// Where the audit log goes.
///
/// Written as `off`, `stderr`, or the path of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AuditTo {
    /// Nowhere.
    #[default]
    Off,
    /// Standard error, beside the log.
    Stderr,
    /// A file, which is appended to.
    File(PathBuf),
}

impl fmt::Display for AuditTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for AuditTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("expected off, stderr, or the path of a file".to_owned()),
            "off" => Ok(Self::Off),
            "stderr" => Ok(Self::Stderr),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// Reads one value or an array of them; a text may hold several, separated by commas.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Several {
        Many(Vec<Written>),
        One(Written),
    }
    let written = match Several::deserialize(deserializer)
        .map_err(|_| serde::de::Error::custom("expected text, a number that is not negative, or an array of them"))?
    {
        Several::Many(many) => many,
        Several::One(one) => vec![one],
    };
    let texts: Vec<String> = written.into_iter().map(Written::text).collect();
    let parsed =
        texts.iter().flat_map(|text| text.split(',')).map(|text| text.parse().map_err(serde::de::Error::custom));
    parsed.collect::<Result<Vec<T>, _>>().map(Some)
}

/// A number of bytes.
///
/// Written as a plain number or with one of the units `KiB`, `MiB`, `GiB` (powers of 1024) or `kB`, `MB`, `GB` (powers of 1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn of(bytes: usize) -> Self {
        Self(bytes as u64)
    }

    /// The number as a `usize`, or the largest one where the platform's is smaller.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().take(3).find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{} {name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), *factor)))
            .unwrap_or((text, 1));
        number
            .replace('_', "")
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| "expected a number of bytes, such as 1048576 or \"4 MiB\"".to_owned())
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line per event; colored on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How clients of Shared Context are told the time of a message, on listeners of `shared_context`. Those of
/// `shared_context_tools` have ISO 8601 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ContextTimes {
    /// As milliseconds at /ws/, where pages are, and as ISO 8601 at /mcp/, where agents are.
    #[default]
    ByPath,
    /// As milliseconds everywhere.
    Milliseconds,
    /// As ISO 8601 everywhere.
    Iso,
}

/// Whom a login of Product Demo is, where API keys or tokens name users as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ProductUsers {
    /// The user of the same id.
    Same,
    /// A user of its own, `product:ID`; events of Product Demo's types for `user:ID` are for it.
    Separate,
}

impl From<ProductUsers> for eventwire_protocol::dialect::product_users::ProductUsers {
    fn from(written: ProductUsers) -> Self {
        match written {
            ProductUsers::Same => Self::Same,
            ProductUsers::Separate => Self::Separate,
        }
    }
}

/// A speed for replays, as a multiple of the readable pace. Between 0.01 and 1000.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed(f64);

impl Speed {
    /// The multiple; always within the bounds.
    #[must_use]
    pub fn factor(self) -> f64 {
        self.0
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Speed {
    type Error = String;

    fn try_from(factor: f64) -> Result<Self, String> {
        if (0.01..=1000.0).contains(&factor) {
            Ok(Self(factor))
        } else {
            Err("expected a speed between 0.01 and 1000, where 1 is the readable pace".to_owned())
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim();
        number.strip_suffix('x').unwrap_or(number).parse::<f64>().unwrap_or(f64::NAN).try_into()
    }
}

/// What a TOML file may write for a value that is parsed from text: the text itself, or a bare number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl Written {
    fn text(self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// Serializes as its text and reads text or number, through `FromStr`.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let written = Written::deserialize(deserializer)
                    .map_err(|_| serde::de::Error::custom("expected text or a number that is not negative"))?;
                written.text().parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Listen, Listener, For, ByteSize, Speed, Network, AuditTo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_takes_addresses_and_ports_and_refuses_names() {
        let parsed = |text: &str| text.parse::<Listen>().map(|listen| listen.to_string());
        assert_eq!(parsed("127.0.0.1:80").as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(parsed("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert_eq!(parsed("localhost:80").as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(parsed(" 0 ").as_deref(), Ok("127.0.0.1:0"));
        for bad in ["example.org:80", "127.0.0.1", "70000", "", ":80", "localhost"] {
            assert!(parsed(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_listener_names_an_address_a_dialect_or_both() {
        let parsed = |text: &str| text.parse::<Listener>().map(|it| (it.listen().to_string(), it.dialect));
        assert_eq!(parsed("81"), Ok(("127.0.0.1:81".into(), Dialect::Canonical)));
        assert_eq!(parsed("0.0.0.0:3000=amiga"), Ok(("0.0.0.0:3000".into(), Dialect::Amiga)));
        assert_eq!(parsed("monadic"), Ok(("127.0.0.1:4567".into(), Dialect::Monadic)));
        assert_eq!(parsed("shared_context"), Ok(("127.0.0.1:8080".into(), Dialect::SharedContext)));
        assert_eq!(parsed("adw_trigger"), Ok(("127.0.0.1:8500".into(), Dialect::AdwTrigger)));
        assert!(parsed("81=amigo").unwrap_err().contains("amiga"));
        assert!(parsed("amigo").is_err() && parsed("=amiga").is_err());
        for text in ["127.0.0.1:81=monadic", "monadic", "127.0.0.1:4800"] {
            assert_eq!(text.parse::<Listener>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_value_may_be_for_one_dialect() {
        let parsed = |text: &str| text.parse::<For>().map(|it| (it.dialect, it.value));
        assert_eq!(parsed("pages"), Ok((None, "pages".into())));
        assert_eq!(parsed("monadic=a=b"), Ok((Some(Dialect::Monadic), "a=b".into())));
        assert_eq!(parsed("http://localhost/?a=b"), Ok((None, "http://localhost/?a=b".into())));
        assert!(parsed("monadic=").is_err() && parsed("").is_err());
    }

    #[test]
    fn a_mapped_loopback_address_is_loopback() {
        let is_loopback = |text: &str| text.parse::<Listen>().unwrap().is_loopback();
        assert!(is_loopback("127.9.9.9:1") && is_loopback("[::1]:1") && is_loopback("[::ffff:127.0.0.1]:1"));
        assert!(!is_loopback("0.0.0.0:1") && !is_loopback("[::]:1") && !is_loopback("192.168.0.1:1"));
    }

    #[test]
    fn http_21_a_network_contains_what_shares_its_leading_bits() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        for (network, inside, outside) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/9", "10.127.255.255", "10.128.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(contains(network, inside) && !contains(network, outside), "{network}");
            let read = network.parse::<Network>().unwrap();
            assert_eq!(read.to_string().parse::<Network>(), Ok(read), "{network} printed as {read}");
        }
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/", "10/8"] {
            assert!(text.parse::<Network>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn byte_sizes_read_units_and_print_what_they_read() {
        for (text, bytes) in
            [("0", 0), ("1_000", 1000), ("4 MiB", 4 << 20), ("2GiB", 2 << 30), ("3kB", 3000), ("7 B", 7)]
        {
            let size = text.parse::<ByteSize>().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size), "{text} printed as {size}");
        }
        for bad in ["", "MiB", "-1", "1.5 MiB", "99999999999 GiB", "4 Mib"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_speed_is_a_positive_number_within_reason() {
        assert_eq!("10x".parse::<Speed>().map(Speed::factor), Ok(10.0));
        assert_eq!("0.5".parse::<Speed>().map(Speed::factor), Ok(0.5));
        for bad in ["0", "-1", "nan", "inf", "1001", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad:?} was taken");
        }
    }
}
