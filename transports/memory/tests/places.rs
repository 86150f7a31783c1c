//! Places and handshakes of the hub, without sockets (LIMIT-05, LIMIT-07).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use std::{net::IpAddr, sync::Arc};

use eventwire_hub::{ApiKeys, ConnectRequest, Connection, Holder, Hub, KeyDigest, Outgoing, Principal, Settings};
use eventwire_protocol::{Claims, CloseCode, ErrorCode, limits};

fn hub(max_connections: usize) -> Hub {
    let mut keys = ApiKeys::new();
    keys.add(KeyDigest::of("key"), Principal::new("ada", Claims::anonymous())).unwrap();
    Hub::builder().settings(Settings { max_connections, ..Settings::default() }).authenticator(keys).build()
}

fn address(last: u8) -> Option<IpAddr> {
    Some([10, 0, 0, last].into())
}

async fn connect(hub: &Hub, principal: Principal, peer: u8) -> Result<Connection, ErrorCode> {
    let mut request = ConnectRequest::new(principal, "memory");
    request.meta.remote_address = address(peer);
    hub.connect(request).await.map_err(|error| error.code)
}

fn stranger() -> Principal {
    Principal::anonymous(Claims::anonymous())
}

fn user(name: &str) -> Principal {
    Principal::new(name, Claims::anonymous())
}

/// The code and the reason that a connection is closed with.
async fn closed(connection: &mut Connection) -> (CloseCode, String) {
    loop {
        if let Outgoing::Close(code, reason) = connection.next().await {
            return (code, reason);
        }
    }
}

#[tokio::test]
async fn limit_05_the_largest_holder_makes_room_and_reads_why() {
    let hub = hub(10);
    let mut first = Vec::new();
    for _ in 0..9 {
        first.push(connect(&hub, stranger(), 1).await.unwrap());
    }
    // The rest is for credentials, and the peer has its share.
    assert_eq!(connect(&hub, stranger(), 1).await.err(), Some(ErrorCode::Unavailable));
    let ada = connect(&hub, user("ada"), 1).await.unwrap();
    let other = connect(&hub, stranger(), 2).await.unwrap();
    let (code, reason) = closed(&mut first[0]).await;
    assert_eq!((code, code.as_u16()), (CloseCode::TryAgainLater, 1013));
    assert!(reason.contains("you have the most connections"), "{reason}");
    drop(first.remove(0));
    // A place that is given back can be taken again.
    drop((ada, other));
    connect(&hub, user("tom"), 3).await.unwrap();
    assert_eq!(hub.stats().turned_away["displaced"], 1);
    assert_eq!(hub.stats().turned_away["no_place"], 1);
}

#[tokio::test]
async fn limit_05_a_low_user_with_all_places_makes_room_for_another_user() {
    let hub = hub(10);
    let mut low = Vec::new();
    for _ in 0..10 {
        low.push(connect(&hub, user("low"), 1).await.unwrap());
    }
    assert_eq!(connect(&hub, user("low"), 2).await.err(), Some(ErrorCode::Unavailable));
    let _ada = connect(&hub, user("ada"), 1).await.unwrap();
    assert_eq!(closed(&mut low[0]).await.0, CloseCode::TryAgainLater);
}

#[tokio::test(start_paused = true)]
async fn limit_05_the_silent_one_goes_before_the_one_that_speaks() {
    let hub = hub(10);
    let mut low = Vec::new();
    for _ in 0..10 {
        low.push(connect(&hub, user("low"), 1).await.unwrap());
    }
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    low[0].pong();
    let _ada = connect(&hub, user("ada"), 1).await.unwrap();
    assert_eq!(closed(&mut low[1]).await.0, CloseCode::TryAgainLater);
    assert!(hub.connections().iter().any(|info| info.connection_id == low[0].id()));
}

#[tokio::test]
async fn limit_05_many_at_once_never_exceed_the_places() {
    let hub = Arc::new(hub(16));
    let tasks: Vec<_> = (0..200_u8)
        .map(|peer| {
            let hub = hub.clone();
            tokio::spawn(async move {
                let mut connection = connect(&hub, stranger(), peer % 7).await.ok()?;
                // A displaced one leaves as a link does.
                let left = tokio::time::timeout(std::time::Duration::from_millis(20), closed(&mut connection)).await;
                left.is_err().then_some(connection)
            })
        })
        .collect();
    let mut open = Vec::new();
    for task in tasks {
        // 16 places, and displaced ones that have not gone.
        assert!(hub.connection_count() <= 16 + eventwire_hub::places::most_leaving(16));
        open.extend(task.await.unwrap());
    }
    let mut counted: Vec<_> = open.iter().map(Connection::id).collect();
    counted.dedup();
    drop(open);
    assert_eq!(hub.connection_count(), 0);
    assert!(!counted.is_empty());
    connect(&hub, stranger(), 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn limit_07_handshakes_have_a_rate_and_a_burst_that_takes_every_place_twice() {
    let hub = hub(100);
    let (one, other) = (Holder::of_peer(address(1)), Holder::of_peer(address(2)));
    let taken = (0..).take_while(|_| hub.check_admission(&one).is_ok()).count();
    assert_eq!(taken, limits::HANDSHAKE_BURST as usize);
    assert_eq!(hub.check_admission(&one).unwrap_err().code, ErrorCode::RateLimited);
    assert!(hub.check_admission(&other).is_ok());
    assert!(hub.check_admission(&Holder::Principal("ada".into())).is_ok());
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let taken = (0..).take_while(|_| hub.check_admission(&one).is_ok()).count();
    assert_eq!(taken, limits::HANDSHAKES_PER_SECOND as usize);
    assert!(hub.stats().turned_away["handshake_rate"] >= 2);
}
