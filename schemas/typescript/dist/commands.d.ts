/**
 * Everything that a client may send over a socket: one JSON object in one text frame.
 */
export type Command = PingCommand | SubscribeCommand | UnsubscribeCommand | AuthenticateCommand;
/**
 * A number or a text, whatever suits the sender.
 */
export type ClientTime = ClientTimeNumber | ClientTimeText;
/**
 * Any number.
 */
export type ClientTimeNumber = number;
/**
 * Any text.
 */
export type ClientTimeText = string;
/**
 * Name of one history: 16 hexadecimal digits.
 */
export type Epoch = string;
/**
 * How far a stream has been read: the last sequence number held, 0 for nothing yet.
 */
export type Position = number;
/**
 * Asks for `connection.pong`.
 */
export interface PingCommand {
    type: "ping";
    /**
     * Chosen by you; the reply carries it as `re`.
     */
    id?: string;
    data?: PingCommandData;
}
/**
 * Asks for `connection.pong`.
 */
export interface PingCommandData {
    /**
     * A number or a text, usually your clock; the answer carries it unchanged.
     */
    client_time?: ClientTime;
}
/**
 * Asks to receive targets, and to get what was missed of them. Answered by `connection.subscribed`.
 */
export interface SubscribeCommand {
    type: "subscribe";
    /**
     * Chosen by you; the reply carries it as `re`.
     */
    id?: string;
    data: SubscribeCommandData;
}
/**
 * Asks to receive targets, and to get what was missed of them.
 */
export interface SubscribeCommandData {
    /**
     * The history that the positions belong to, as `connection.welcome` named it. Needed when a `since` is not 0.
     */
    epoch?: Epoch;
    /**
     * The targets, at most 256. Each is accepted or refused on its own.
     *
     * @minItems 1
     * @maxItems 256
     */
    streams: [Wanted, ...Wanted[]];
}
/**
 * One wanted target.
 */
export interface Wanted {
    /**
     * The target: `adw:<id>`, `room:<name>`, `session:<id>`, `user:<id>`, `global`, or `*` for all you may observe.
     */
    to: string;
    /**
     * The last sequence number you hold of this target, 0 for none: you get everything after it that is still kept. Without it you get what happens from now on.
     */
    since?: Position;
}
/**
 * Asks to no longer receive targets. Answered by `connection.unsubscribed`.
 */
export interface UnsubscribeCommand {
    type: "unsubscribe";
    /**
     * Chosen by you; the reply carries it as `re`.
     */
    id?: string;
    data: UnsubscribeCommandData;
}
/**
 * Asks to no longer receive targets.
 */
export interface UnsubscribeCommandData {
    /**
     * The targets, at most 256.
     *
     * @minItems 1
     * @maxItems 256
     */
    streams: [Unwanted, ...Unwanted[]];
}
/**
 * One target that is no longer wanted.
 */
export interface Unwanted {
    /**
     * The target, as it was subscribed.
     */
    to: string;
}
/**
 * Replaces the credentials of the connection without closing it.
 */
export interface AuthenticateCommand {
    type: "authenticate";
    /**
     * Chosen by you; the reply carries it as `re`.
     */
    id?: string;
    data: AuthenticateCommandData;
}
/**
 * Replaces the credentials of the connection without closing it.
 */
export interface AuthenticateCommandData {
    /**
     * The new token.
     */
    token: string;
}
