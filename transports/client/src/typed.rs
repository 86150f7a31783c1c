//! Items of one type, for those who want to hear of little.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use eventwire_protocol::{
    address::Audience,
    event::Payload,
    frame::{EventFrame, Incoming},
    id::Seq,
    time::Time,
};
use futures_util::Stream;

use crate::{client::Items, session::Item};

/// An event with its payload.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedEvent<P> {
    /// The payload.
    pub data: P,
    /// When it happened.
    pub time: Time,
    /// Whom it was for.
    pub to: Audience,
    /// Its number, if it is logged.
    pub seq: Option<Seq>,
}

/// An item, where it is an event of the wanted type.
#[derive(Clone, Debug)]
pub enum Typed<P> {
    /// It is.
    Event(TypedEvent<P>),
    /// It is not.
    Other(Item),
}

impl Item {
    /// The event, if it is one of this type.
    ///
    /// ```
    /// use eventwire_client::{Item, Typed};
    /// use eventwire_protocol::event::adw::TextBlock;
    ///
    /// fn show(item: Item) {
    ///     match item.typed::<TextBlock>() {
    ///         Typed::Event(event) => println!("{}", event.data.content),
    ///         Typed::Other(Item::Gap(gap)) => println!("load {} again", gap.stream),
    ///         Typed::Other(_) => {}
    ///     }
    /// }
    /// ```
    pub fn typed<P: Payload>(self) -> Typed<P> {
        let Item::Event(EventFrame { kind, time, to, seq, prev, data, text }) = self else { return Typed::Other(self) };
        let data = match data {
            Incoming::Known(event) => match P::try_from(*event) {
                Ok(data) => return Typed::Event(TypedEvent { data, time, to, seq }),
                Err(event) => Incoming::Known(Box::new(event)),
            },
            unknown => unknown,
        };
        Typed::Other(Item::Event(EventFrame { kind, time, to, seq, prev, data, text }))
    }
}

/// The items of a client, with the events of one type and no others. Gaps, refusals and states are there as ever: who shows
/// only some events still has to know when those are missing.
#[derive(Debug)]
pub struct Only<P> {
    items: Items,
    wanted: std::marker::PhantomData<fn() -> P>,
}

impl<P: Payload> Only<P> {
    pub(crate) fn new(items: Items) -> Self {
        Only { items, wanted: std::marker::PhantomData }
    }

    /// The next item; `None` after the last one.
    pub async fn next(&mut self) -> Option<Typed<P>> {
        loop {
            if let Some(item) = wanted(self.items.next().await?) {
                return Some(item);
            }
        }
    }

    /// All items again.
    pub fn into_inner(self) -> Items {
        self.items
    }
}

impl<P: Payload> Stream for Only<P> {
    type Item = Typed<P>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Typed<P>>> {
        loop {
            match Pin::new(&mut self.items).poll_next(context) {
                Poll::Ready(Some(item)) => {
                    if let Some(item) = wanted(item) {
                        return Poll::Ready(Some(item));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn wanted<P: Payload>(item: Item) -> Option<Typed<P>> {
    match item.typed() {
        Typed::Other(Item::Event(_)) => None,
        wanted => Some(wanted),
    }
}
