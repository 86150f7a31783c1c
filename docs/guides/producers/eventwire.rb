# frozen_string_literal: true

# What a back end of Monadic Chat calls to reach its pages through Eventwire. Standard library only; copy this file.
#
#   WebSocketHelper.broadcast_progress({ "type" => "wait", "content" => "Thinking" }, session_id)
#   WebSocketHelper.send_to_session(message.to_json, session_id)
#   WebSocketHelper.broadcast_to_all(voices.to_json)
#
# session_id is the value of the browser's cookie _monadic_session_id, as before, or the session_id of a command. Each method
# returns true when the event was taken and false otherwise: a server that is absent, slow or of another opinion never raises
# and costs two seconds at most. EVENTWIRE_URL says where the server is, EVENTWIRE_TOKEN is the API key where one is needed.

require "json"
require "net/http"
require "timeout"
require "uri"

module WebSocketHelper
  TIMEOUT_SECONDS = 2
  DEFAULT_URL = "http://127.0.0.1:4800"

  module_function

  # Progress of something that takes long, for the tabs of one session. Nothing is sent while WEBSOCKET_PROGRESS_ENABLED
  # is false.
  def broadcast_progress(fragment, target_session_id = nil)
    return false unless progress_enabled?

    # The session goes into a header: the value of a cookie has no place in a frame.
    frame = fragment.to_h.transform_keys(&:to_s).reject { |name, _| name == "session_id" }
    frame["timestamp"] ||= Time.now.to_f
    publish(JSON.generate(frame), target_session_id)
  rescue StandardError
    false
  end

  # A message for the tabs of one session: a JSON text, or something that becomes one.
  def send_to_session(message_json, session_id)
    publish(json(message_json), session_id)
  rescue StandardError
    false
  end

  # A message for everybody, such as a list of voices. What belongs to one session is refused here, unless the server is
  # set up for a single user.
  def broadcast_to_all(message)
    publish(json(message), nil)
  rescue StandardError
    false
  end

  def progress_enabled?
    setting = ENV.fetch("WEBSOCKET_PROGRESS_ENABLED", "true")
    setting = CONFIG["WEBSOCKET_PROGRESS_ENABLED"] if defined?(CONFIG) && CONFIG.respond_to?(:key?) &&
                                                      CONFIG.key?("WEBSOCKET_PROGRESS_ENABLED")
    setting.to_s.strip.downcase != "false"
  end

  def json(message)
    message.is_a?(String) ? message : JSON.generate(message)
  end

  def publish(body, session_id)
    uri = URI.join(ENV.fetch("EVENTWIRE_URL", DEFAULT_URL), "/v1/events?dialect=monadic")
    request = Net::HTTP::Post.new(uri, "Content-Type" => "application/json")
    session = session_id.to_s
    # No cookie that the server takes begins with a tilde, and every session id does.
    if session.match?(/\A~\h{32}\z/)
      request["Eventwire-To"] = "session:#{session}"
    elsif !session.empty?
      request["Eventwire-Session"] = session
    end
    token = ENV.fetch("EVENTWIRE_TOKEN", "")
    request["Authorization"] = "Bearer #{token}" unless token.empty?
    request.body = body
    Timeout.timeout(TIMEOUT_SECONDS) { send_request(uri, request).is_a?(Net::HTTPSuccess) }
  end

  def send_request(uri, request)
    # No proxy, and no second attempt: what is late is of no use.
    http = Net::HTTP.new(uri.hostname, uri.port, nil)
    http.use_ssl = uri.scheme == "https"
    http.open_timeout = http.read_timeout = http.write_timeout = TIMEOUT_SECONDS
    http.max_retries = 0
    http.start { |connection| connection.request(request) }
  end

  private_class_method :progress_enabled?, :json, :publish, :send_request
end
