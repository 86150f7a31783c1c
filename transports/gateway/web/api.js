// The HTTP side of the public API, with the token when there is one. Errors are sentences for the person at the screen.

const TOKEN_KEY = "eventwire.token";

/** An answer that was not a success. `status` is 0 when there was no answer at all. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Calls against the gateway this page came from. */
export class Api {
  #unauthorized;

  /** `onUnauthorized` is called whenever the server answers 401. */
  constructor(base, onUnauthorized) {
    this.base = base;
    this.#unauthorized = onUnauthorized;
  }

  /** The token of this browser tab, or null. It lives in sessionStorage and nowhere else. */
  token() {
    try {
      return sessionStorage.getItem(TOKEN_KEY);
    } catch {
      return null;
    }
  }

  setToken(token) {
    if (token) sessionStorage.setItem(TOKEN_KEY, token);
    else sessionStorage.removeItem(TOKEN_KEY);
  }

  url(path) {
    return new URL(path, this.base).href;
  }

  socketUrl() {
    const url = new URL("v1/ws", this.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  /** The JSON body of a successful answer; `null` for one without a body. Throws ApiError. */
  async json(method, path, body) {
    const response = await this.#fetch(method, path, body);
    if (response.status === 204) return null;
    return response.json();
  }

  async blob(path) {
    return (await this.#fetch("GET", path)).blob();
  }

  /** The status of a cheap request that needs the same permission as observing; 0 without an answer. */
  async probe() {
    try {
      await this.#fetch("GET", "v1/agents", undefined, false);
      return 200;
    } catch (error) {
      return error.status ?? 0;
    }
  }

  async #fetch(method, path, body, tell = true) {
    const headers = {};
    const token = this.token();
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let response;
    try {
      response = await fetch(this.url(path), { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", credentials: "same-origin" });
    } catch {
      throw new ApiError(0, "unavailable", "the server does not answer");
    }
    // 422 carries one result per event, like 202.
    if (response.ok || (response.status === 422 && path === "v1/events")) return response;
    let problem = {};
    try {
      problem = (await response.json()).error ?? {};
    } catch {
      // Not our error body, for instance from a proxy: the status must do.
    }
    if (response.status === 401 && tell) this.#unauthorized();
    throw new ApiError(response.status, problem.code ?? String(response.status), problem.message ?? `the server answered ${response.status}`);
  }
}

/** `403 forbidden: the token lacks admin` */
export function problemLine(error) {
  if (!(error instanceof ApiError)) return error.message;
  return error.status === 0 ? error.message : `${error.status} ${error.code}: ${error.message}`;
}
