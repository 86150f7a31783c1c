//! Only the catalog says where a payload may go.

use eventwire_protocol::{AddressedTo, address::to, event::adw::ToolUsePre};

impl AddressedTo<to::Global> for ToolUsePre {}

fn main() {}
