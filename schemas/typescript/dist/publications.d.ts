/**
 * The body of `POST /v1/events` as application/json. As application/x-ndjson each line is one Publication.
 */
export type PublishRequest = Publication | PublicationBatch;
/**
 * One event to publish. There is no default audience.
 */
export type Publication = AdwAgentLogPublication | AdwAgentSummaryUpdatePublication | AdwChatStreamPublication | AdwThinkingBlockPublication | AdwToolUsePrePublication | AdwToolUsePostPublication | AdwFileChangedPublication | AdwSummaryUpdatePublication | AdwTextBlockPublication | AdwWorkflowPhaseTransitionPublication | AdwAgentOutputChunkPublication | AdwScreenshotAvailablePublication | AdwSpecCreatedPublication | AdwSystemLogPublication | AdwTriggerResponsePublication | AdwStatusUpdatePublication | AdwWorkflowLogPublication | AdwStageTransitionPublication | AdwSessionRegisteredPublication | AdwTicketNotificationResponsePublication | AdwAgentCreatedPublication | AdwAgentUpdatedPublication | AdwAgentDeletedPublication | AdwAgentStatusChangePublication | AdwOrchestratorUpdatedPublication | AdwChatMessagePublication | AdwTypingIndicatorPublication | ChatWaitPublication | ChatFragmentPublication | ChatStreamingCompletePublication | ChatClearFragmentsPublication | ChatThinkingPublication | ChatReasoningPublication | ChatToolExecutingPublication | ChatTurnFinishedPublication | ChatClearedPublication | ChatCancelPublication | ChatProcessingStatusPublication | ChatSystemInfoPublication | ChatSuccessPublication | ChatNoticePublication | ChatErrorPublication | ChatUserPublication | ChatHtmlPublication | ChatChangeStatusPublication | ChatEditSuccessPublication | ChatDisplaySamplePublication | ChatSampleSuccessPublication | ChatAiUserStartedPublication | ChatAiUserPublication | ChatAiUserFinishedPublication | ChatAppsPublication | ChatParametersPublication | ChatPastMessagesPublication | ChatStatsPublication | ChatLanguageUpdatedPublication | ChatContextExtractionStartedPublication | ChatContextUpdatePublication | ChatVoicesPublication | ChatMcpStatusPublication | ChatSttPublication | ChatSttPartialPublication | ChatAudioPublication | ChatFragmentWithAudioPublication | ChatWebSpeechPublication | ChatTtsProgressPublication | ChatTtsCompletePublication | ChatTtsStoppedPublication | ChatTtsNoticePublication | ChatTokenVerifiedPublication | ChatTokenNotVerifiedPublication | ChatOpenAiApiErrorPublication | ChatPdfTitlesPublication | ChatPdfDeletedPublication | ChatPrivacyStatePublication | ChatPrivacyToggleAckPublication | ChatPrivacyRegistryPublication | ChatPrivacyExportDataPublication | ChatPrivacyExportErrorPublication | ChatVerifyConfidenceStartPublication | ChatVerifyConfidencePublication | ChatLibraryConversationsPublication | ChatLibraryStatsPublication | ChatLibraryDeletedPublication | ChatLibrarySavedPublication | ChatLibraryRagStatePublication | ChatLibraryTitleSuggestedPublication | ChatLibraryScopeUpdatedPublication | ChatLibraryRenamedPublication | ChatLibraryConversationDataPublication | DocumentStatusPublication | RagProgressPublication | MessageChunkPublication | InstallProgressPublication | SessionExpiringPublication | UserActivityPublication | McpConnectingPublication | McpConnectedPublication | McpConnectErrorPublication | McpToolResultPublication | McpDisconnectedPublication | McpReconnectingPublication | McpSseEventPublication | MetricsUpdatePublication | MetricsIntervalUpdatedPublication | TaskUpdatePublication | TaskProgressPublication | TaskCompletePublication | TaskFailedPublication | TaskStoppedPublication | TaskToolExecutionPublication | AssistantResponsePublication | AssistantCommandResultPublication | AssistantClearedPublication | ContextNewMessagePublication | ContextSessionUpdatePublication | ContextMemoryUpdatePublication | ContextTypingPublication | ContextMessagesPublication | ContextSessionInfoPublication | VendorPublication;
/**
 * Id of one AI developer workflow run: exactly 8 ASCII letters and digits.
 */
export type AdwId = string;
/**
 * Where an agent's log line comes from.
 *
 * Known values, more may come:
 * - `hook`: A hook of the agent's tool.
 * - `response`: What the agent or its user said, or the outcome of a turn.
 * - `status`: The agent's state: busy, idle, limited.
 * - `system`: The machinery around the agent.
 */
export type EventCategory = string;
/**
 * How important a log line is. Upper-case spellings are accepted when reading.
 *
 * Values:
 * - `debug`: Only of interest when something is being looked for.
 * - `info`: Normal progress.
 * - `success`: Something was finished well.
 * - `warning`: Something is odd, work goes on.
 * - `error`: Something failed.
 */
export type LogLevel = "debug" | "info" | "success" | "warning" | "error";
/**
 * The agent's role in the workflow; it is also the name of its directory.
 *
 * Known values, more may come:
 * - `planner`: Writes the plan.
 * - `implementor`: Carries the plan out.
 * - `tester`: Runs and writes tests.
 * - `reviewer`: Compares the result with the plan.
 * - `documenter`: Writes the documentation.
 */
export type AgentRole = string;
/**
 * An instant in UTC, as RFC 3339 writes it with `Z`, for instance `2026-11-20T23:40:01.123456Z`. Up to six digits of the second's fraction; `Date` in a browser keeps three of them.
 */
export type Time = string;
/**
 * Idempotency key of a published event, chosen by the publisher.
 */
export type EventId = string;
/**
 * How far a stream has been read: the last sequence number held, 0 for nothing yet.
 */
export type Position = number;
/**
 * Where a workflow or an agent stands.
 *
 * Known values, more may come:
 * - `started`: Work has begun.
 * - `in_progress`: Work is under way.
 * - `completed`: Work ended well.
 * - `failed`: Work ended badly.
 */
export type WorkflowStatus = string;
/**
 * How the text of a chat stream is to be shown.
 *
 * Known values, more may come:
 * - `text`: Plain text.
 * - `code`: Source code.
 * - `markdown`: Markdown.
 */
export type StreamType = string;
/**
 * What happened to a file. The older words `write`, `modify` and `delete` are accepted when reading.
 *
 * Values:
 * - `read`: The file was read.
 * - `modified`: The content of an existing file was changed.
 * - `created`: The file did not exist before.
 * - `deleted`: The file is gone.
 */
export type FileOperation = "read" | "modified" | "created" | "deleted";
/**
 * What a summary sums up.
 *
 * Known values, more may come:
 * - `file_change`: A change of one file.
 * - `tool_use`: The use of one tool.
 * - `session`: A whole session, or one turn of it.
 */
export type SummaryType = string;
/**
 * A phase of a workflow. Phases outside the usual five bear the name of the agent's role.
 *
 * Known values, more may come:
 * - `plan`: The plan is being written.
 * - `build`: The plan is being carried out.
 * - `test`: The result is being tested.
 * - `review`: The result is being reviewed.
 * - `document`: The result is being documented.
 */
export type WorkflowPhase = string;
/**
 * Why a screenshot was taken.
 *
 * Known values, more may come:
 * - `review`: For the review of the result.
 * - `error`: It shows something going wrong.
 * - `comparison`: It compares before and after.
 */
export type ScreenshotType = string;
/**
 * What a specification is for.
 *
 * Known values, more may come:
 * - `plan`: The plan of the whole work.
 * - `patch`: A correction of work already done.
 * - `review`: The outcome of a review.
 */
export type SpecType = string;
/**
 * What became of the wish to start a workflow.
 *
 * Known values, more may come:
 * - `accepted`: The workflow starts.
 * - `error`: The workflow could not be started.
 * - `ignored`: Nothing was done, on purpose.
 */
export type TriggerStatus = string;
/**
 * A column of the board that a ticket moves through.
 *
 * Known values, more may come:
 * - `backlog`: Not begun.
 * - `plan`: The plan is being written.
 * - `build`: The plan is being carried out.
 * - `test`: The result is being tested.
 * - `review`: The result is being reviewed.
 * - `document`: The result is being documented.
 * - `ready-to-merge`: Everything is done, the merge is not.
 * - `pr`: A pull request is open.
 * - `completed`: Done.
 * - `errored`: Stopped by an error.
 */
export type WorkflowStage = string;
/**
 * What became of a ticket notification.
 *
 * Known values, more may come:
 * - `received`: The ticket was taken in.
 * - `error`: The ticket was refused.
 */
export type TicketStatus = string;
/**
 * How the steps of a long operation follow each other.
 *
 * Known values, more may come:
 * - `sequential`: One after the other.
 * - `parallel`: All at once.
 */
export type StepMode = string;
/**
 * Why the model stopped writing.
 *
 * Known values, more may come:
 * - `stop`: It was done.
 * - `length`: It reached the limit of an answer; the text breaks off.
 * - `tool_calls`: It wants tools to be called; more follows when they have answered.
 * - `safety`: Its provider ended the answer for reasons of safety.
 * - `error`: It failed.
 */
export type FinishReason = string;
/**
 * What went wrong, as a word that a frontend can translate.
 *
 * Known values, more may come:
 * - `invalid_message_format`: The frame was not one that the application reads.
 * - `invalid_parameters`: The parameters were not an object.
 * - `message_not_found_for_editing`: The message that was to be changed is not there.
 * - `error_processing_sample`: A sample message could not be added.
 * - `voice_input_empty`: The recording held nothing.
 * - `text_input_empty`: The recording held no words.
 * - `ai_user_requires_conversation`: A program can play the person only once there is a conversation.
 * - `ai_user_error`: The program that plays the person failed; `details` says how.
 * - `api_stopped_safety`: The provider of the model ended the answer for reasons of safety.
 * - `content_not_found`: The answer of the model had no text where one belongs.
 * - `empty_response`: The answer of the model was empty.
 * - `something_went_wrong`: Anything else.
 */
export type ChatErrorKey = string;
/**
 * Who says a message of a conversation.
 *
 * Known values, more may come:
 * - `user`: The person, or a program that plays the person.
 * - `assistant`: The model.
 * - `system`: Instructions to the model, and what the application says itself.
 */
export type MessageRole = string;
/**
 * The direction in which a language is written, as in the attribute `dir` of a page.
 *
 * Known values, more may come:
 * - `ltr`: From left to right.
 * - `rtl`: From right to left.
 */
export type TextDirection = string;
/**
 * Who turns text into speech.
 *
 * Known values, more may come:
 * - `elevenlabs`: ElevenLabs.
 * - `gemini`: Google Gemini.
 * - `mistral`: Mistral.
 */
export type VoiceProvider = string;
/**
 * What a notice about speech says.
 *
 * Known values, more may come:
 * - `manual_play`: The person asked for the speech, so the whole text is spoken.
 * - `partial`: The text is too long to be spoken by itself, so only its beginning is.
 */
export type TtsNoticeType = string;
/**
 * What an export holds where names and other personal data were masked.
 *
 * Known values, more may come:
 * - `restored`: The personal data.
 * - `masked`: Placeholders in its place.
 */
export type ExportContent = string;
/**
 * Why nothing was exported.
 *
 * Known values, more may come:
 * - `invalid_content`: The wish named a content that there is not; `valid_content` lists those that there are.
 * - `passphrase_required`: An encrypted export needs a passphrase.
 * - `export_failed`: It failed; `details` says how.
 */
export type PrivacyExportFault = string;
/**
 * How far several models agree about an answer.
 *
 * Known values, more may come:
 * - `high`: They agree.
 * - `medium`: They agree in part.
 * - `low`: They disagree.
 * - `unknown`: Too few of them answered, or the comparison failed.
 * - `unavailable`: No comparison was possible; `note` says why.
 */
export type Confidence = string;
/**
 * How an answer compares with what several models agree on.
 *
 * Known values, more may come:
 * - `corroborated`: It says the same.
 * - `partial`: It says some of the same.
 * - `disputed`: It says something else.
 */
export type Corroboration = string;
/**
 * What to do with an answer after it was compared.
 *
 * Known values, more may come:
 * - `trust`: Rely on it.
 * - `verify`: Check it.
 * - `escalate`: Have somebody decide who knows the matter.
 */
export type Recommendation = string;
/**
 * Id that the application gave to a thing of its own, for instance to a document or a task.
 */
export type ItemId = string;
/**
 * Where the processing of a document stands.
 *
 * Known values, more may come:
 * - `pending`: Known, nothing done yet.
 * - `uploaded`: The file has arrived.
 * - `processing`: Its text is being extracted and cut into chunks.
 * - `embedding`: Embeddings of the chunks are being made.
 * - `processed`: Done: questions about it can be answered.
 * - `error`: Processing has failed.
 */
export type DocumentState = string;
/**
 * A stage on the way to the answer to a question, in the order of this list.
 *
 * Known values, more may come:
 * - `started`: The question was taken in.
 * - `embedding`: An embedding of the question is being made.
 * - `retrieval`: Chunks of documents that bear on the question are being looked for.
 * - `generation`: The answer is being written.
 * - `complete`: The answer is there, in `result`.
 */
export type RagStage = string;
/**
 * Any JSON value but null.
 */
export type AnyValue = AnyObject | AnyArray | AnyText | AnyNumber | AnyBoolean;
/**
 * Any array.
 */
export type AnyArray = unknown[];
/**
 * Any text.
 */
export type AnyText = string;
/**
 * Any number.
 */
export type AnyNumber = number;
/**
 * True or false.
 */
export type AnyBoolean = boolean;
/**
 * A stage of an installation.
 *
 * Known values, more may come:
 * - `executing`: A command is running; `output` is what it writes.
 */
export type InstallStage = string;
/**
 * How an installation as a whole fares.
 *
 * Known values, more may come:
 * - `connecting`: A connection to the machine is being made.
 * - `connected`: The machine is reached.
 * - `preparing`: The machine is being made ready.
 * - `installing`: The installation itself is under way.
 * - `success`: It ended well.
 * - `failed`: The installation has failed.
 * - `error`: Something else went wrong, for instance the connection.
 */
export type InstallStatus = string;
/**
 * Where a program wrote its output.
 *
 * Known values, more may come:
 * - `stdout`: Standard output.
 * - `stderr`: Standard error.
 */
export type OutputStream = string;
/**
 * How a login fares.
 *
 * Known values, more may come:
 * - `expiring_soon`: It ends soon, unless the user does something.
 * - `expired`: It has ended.
 */
export type LoginStatus = string;
/**
 * Id of an authenticated person.
 */
export type UserId = string;
/**
 * What a user does.
 *
 * Known values, more may come:
 * - `viewing_document`: Looks at the document that `document_id` names.
 */
export type UserAction = string;
/**
 * Where a task stands.
 *
 * Known values, more may come:
 * - `pending`: It waits for its turn.
 * - `running`: It is being worked on.
 * - `completed`: It ended well.
 * - `failed`: It ended badly.
 * - `stopped`: A person stopped it.
 */
export type TaskStatus = string;
/**
 * Where the use of a tool stands.
 *
 * Known values, more may come:
 * - `in_progress`: The tool is at work.
 * - `completed`: The tool has done what was asked.
 * - `failed`: The tool has failed.
 */
export type ToolExecutionStatus = string;
/**
 * What kind of answer the assistant gave.
 *
 * Known values, more may come:
 * - `direct`: The message is the whole answer.
 * - `task_started`: The message says that a task was started, which `task_id` names.
 */
export type ResponseType = string;
/**
 * Who in the context may see a message.
 *
 * Values:
 * - `public`: Everyone in it.
 * - `private`: The sender alone.
 * - `agent_only`: The agents in it, and the sender.
 */
export type MessageVisibility = "public" | "private" | "agent_only";
/**
 * What kind of message it is.
 *
 * Known values, more may come:
 * - `agent_response`: What an agent has to say.
 * - `human_input`: What a person has to say.
 * - `system_status`: How something stands.
 * - `tool_output`: What a tool has put out.
 * - `coordination`: Who does what.
 */
export type MessageType = string;
/**
 * Id of a session: a context id, or ~ and 32 hexadecimal digits for a browser session.
 */
export type SessionId = string;
/**
 * Several events; each is accepted or refused on its own, in order.
 *
 * @maxItems 1000
 */
export type PublicationBatch = Publication[];
/**
 * One line for the log of a run.
 */
export interface AdwAgentLogPublication {
    type: "adw.agent_log";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentLogData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * One line for the log of a run: the start of an agent, a prompt, a hook, a limit, a warning, the cost of a turn.
 */
export interface AdwAgentLogData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * Where the line comes from.
     */
    event_category: EventCategory;
    /**
     * The finer kind within the category, for instance `init`, `hook_response` or `PreToolUse`. Any text.
     */
    event_type: string;
    /**
     * How important the line is.
     */
    level: LogLevel;
    /**
     * The line itself. Plain text from outside: show it as text, never as markup.
     */
    message: string;
    /**
     * The line in fewer words.
     */
    summary?: string;
    /**
     * What the workflow is doing now, for a person to read.
     */
    current_step?: string;
    /**
     * The agent that the line is about.
     */
    agent_role?: AgentRole;
    /**
     * Set when a subagent wrote the line: the `tool_use_id` of the call that started the subagent.
     */
    parent_tool_use_id?: string;
    /**
     * Further values, by kind of event; free form.
     */
    payload?: {
        [k: string]: unknown;
    };
}
/**
 * Where a run stands now.
 */
export interface AdwAgentSummaryUpdatePublication {
    type: "adw.agent_summary_update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentSummaryUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * Where a run stands now. A newer one replaces an older one of the same run.
 */
export interface AdwAgentSummaryUpdateData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * Where the run stands.
     */
    status: WorkflowStatus;
    /**
     * How much is done, 0 to 100.
     */
    progress_percent?: number;
    /**
     * What the run is doing now, for a person to read.
     */
    current_step?: string;
    /**
     * The workflow that is running, for instance `adw_plan_iso`.
     */
    workflow_name?: string;
    /**
     * One line about the state, for a person to read.
     */
    message?: string;
    /**
     * The state as an object, as some producers keep it; free form.
     */
    summary?: {
        [k: string]: unknown;
    };
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * A piece of text as it is being written.
 */
export interface AdwChatStreamPublication {
    type: "adw.chat_stream";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwChatStreamData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A piece of text as it is being written. The pieces of one stream, put one behind the other, are the text.
 */
export interface AdwChatStreamData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The next piece of the text. May be empty. Text from outside: `stream_type` says how to show it, and it is never markup of your own page.
     */
    content: string;
    /**
     * How the text is to be shown.
     */
    stream_type: StreamType;
    /**
     * True on the piece that ends the text.
     */
    is_complete: boolean;
    /**
     * The orchestrating agent that writes the text.
     */
    orchestrator_agent_id?: string;
}
/**
 * A finished block of an agent's thinking.
 */
export interface AdwThinkingBlockPublication {
    type: "adw.thinking_block";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwThinkingBlockData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A finished block of the agent's thinking.
 */
export interface AdwThinkingBlockData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The thoughts. Empty when `withheld` is true. Plain text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * True when the agent thought but its text was not given out, only a signature over it. Absent means false.
     */
    withheld?: boolean;
    /**
     * How long the agent thought, in milliseconds.
     */
    duration_ms?: number;
    /**
     * Position of the block within its agent's output, counted by the producer.
     */
    sequence?: number;
    /**
     * The kind of thinking, for instance `planning`. Any text.
     */
    reasoning_type?: string;
    /**
     * The agent that thought.
     */
    agent_role?: AgentRole;
    /**
     * Set when a subagent thought: the `tool_use_id` of the call that started the subagent.
     */
    parent_tool_use_id?: string;
}
/**
 * An agent is about to use a tool.
 */
export interface AdwToolUsePrePublication {
    type: "adw.tool_use_pre";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwToolUsePreData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The agent is about to use a tool. `adw.tool_use_post` with the same `tool_use_id` follows, unless the agent was stopped in between. Several calls may be under way at once, and their results come in any order.
 */
export interface AdwToolUsePreData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The tool, for instance `Read` or `Bash`.
     */
    tool_name: string;
    /**
     * The arguments of the call, as the tool defines them.
     */
    input: {
        [k: string]: unknown;
    };
    /**
     * Identifies the call within the run.
     */
    tool_use_id?: string;
    /**
     * The agent that uses the tool.
     */
    agent_role?: AgentRole;
    /**
     * Set when a subagent uses the tool: the `tool_use_id` of the call that started the subagent.
     */
    parent_tool_use_id?: string;
}
/**
 * A tool has answered an agent.
 */
export interface AdwToolUsePostPublication {
    type: "adw.tool_use_post";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwToolUsePostData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A tool has answered.
 */
export interface AdwToolUsePostData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The tool, as in `adw.tool_use_pre`. Empty when the call itself was not seen.
     */
    tool_name: string;
    /**
     * True when the tool did what was asked.
     */
    success: boolean;
    /**
     * The call, as in `adw.tool_use_pre`.
     */
    tool_use_id?: string;
    /**
     * What the tool answered. Plain text from outside: show it as text, never as markup.
     */
    output?: string;
    /**
     * What went wrong, when `success` is false.
     */
    error?: string;
    /**
     * How long the call took, in milliseconds.
     */
    duration_ms?: number;
    /**
     * The agent that used the tool.
     */
    agent_role?: AgentRole;
    /**
     * Set when a subagent used the tool: the `tool_use_id` of the call that started the subagent.
     */
    parent_tool_use_id?: string;
}
/**
 * An agent has read or changed a file.
 */
export interface AdwFileChangedPublication {
    type: "adw.file_changed";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwFileChangedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The agent has read or changed a file.
 */
export interface AdwFileChangedData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The file, relative to the run's working directory, with `/` between the parts. A file outside of it is reduced to its name.
     */
    file_path: string;
    /**
     * What happened to the file.
     */
    operation: FileOperation;
    /**
     * The change as a unified diff. Plain text from outside: show it as text, never as markup.
     */
    diff?: string;
    /**
     * The change in words.
     */
    summary?: string;
    /**
     * Lines that are new in the file.
     */
    lines_added?: number;
    /**
     * Lines that are no longer in the file.
     */
    lines_removed?: number;
    /**
     * The call that did it, as in `adw.tool_use_pre`.
     */
    tool_use_id?: string;
    /**
     * The agent that did it.
     */
    agent_role?: AgentRole;
    /**
     * Set when a subagent did it: the `tool_use_id` of the call that started the subagent.
     */
    parent_tool_use_id?: string;
}
/**
 * A summary of a file change, a tool use or a session.
 */
export interface AdwSummaryUpdatePublication {
    type: "adw.summary_update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwSummaryUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A summary of something that happened, written for a person.
 */
export interface AdwSummaryUpdateData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * What is summed up.
     */
    summary_type: SummaryType;
    /**
     * The summary. Plain text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * The file that the summary is about, relative to the run's working directory.
     */
    related_file?: string;
    /**
     * The agent that the summary is about.
     */
    agent_role?: AgentRole;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * A finished block of text from an agent.
 */
export interface AdwTextBlockPublication {
    type: "adw.text_block";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwTextBlockData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A finished block of the agent's answer.
 */
export interface AdwTextBlockData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The text. Plain text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * Position of the block within its agent's output, counted by the producer.
     */
    sequence?: number;
    /**
     * The agent that wrote the text.
     */
    agent_role?: AgentRole;
    /**
     * Set when a subagent wrote the text: the `tool_use_id` of the call that started the subagent.
     */
    parent_tool_use_id?: string;
}
/**
 * A run has entered another phase.
 */
export interface AdwWorkflowPhaseTransitionPublication {
    type: "adw.workflow_phase_transition";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwWorkflowPhaseTransitionData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The run has entered a phase.
 */
export interface AdwWorkflowPhaseTransitionData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The phase before; absent when this is the first.
     */
    phase_from?: WorkflowPhase;
    /**
     * The phase that begins.
     */
    phase_to: WorkflowPhase;
    /**
     * The workflow that the phase belongs to, for instance `adw_sdlc_iso`.
     */
    workflow_name?: string;
    /**
     * The agent whose start began the phase.
     */
    agent_role?: AgentRole;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * A verbatim piece of an agent's output.
 */
export interface AdwAgentOutputChunkPublication {
    type: "adw.agent_output_chunk";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentOutputChunkData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A line of an agent's raw output, or a part of a long line. All chunks of a file, each line closed with a line feed, are the file, byte for byte. Raw output is not cleaned: reading it needs the permission `adw_raw`.
 */
export interface AdwAgentOutputChunkData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The agent whose output it is.
     */
    agent_role: AgentRole;
    /**
     * The text of the line or of the part, without the line feed; at most 32 KiB. Usually JSON, but any text may come. Show it as text, never as markup.
     */
    content: string;
    /**
     * The line in the file, counted from 1. All parts of a long line have the same number.
     */
    line_number?: number;
    /**
     * How many lines the file has, where the producer knows it.
     */
    total_lines?: number;
    /**
     * True on the chunk that ends its line.
     */
    is_complete: boolean;
    /**
     * Where in the file the first byte of this chunk stands, counted from 0, in bytes.
     */
    offset_bytes?: number;
    /**
     * The exact bytes in base64 (standard alphabet, padded), only when they are not valid UTF-8. `content` then shows them with replacement characters.
     */
    content_base64?: string;
}
/**
 * A screenshot can be fetched.
 */
export interface AdwScreenshotAvailablePublication {
    type: "adw.screenshot_available";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwScreenshotAvailableData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A screenshot can be fetched.
 */
export interface AdwScreenshotAvailableData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The picture, relative to the run's own directory, for instance `reviewer/review_img/01.png`.
     */
    screenshot_path: string;
    /**
     * Why the screenshot was taken.
     */
    screenshot_type: ScreenshotType;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * A plan or another specification has been written.
 */
export interface AdwSpecCreatedPublication {
    type: "adw.spec_created";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwSpecCreatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A specification was written.
 */
export interface AdwSpecCreatedData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The specification, relative to the root of the repository, for instance `agents/29fb6a3e/29fb6a3e_plan_spec.md`.
     */
    spec_path: string;
    /**
     * What the specification is for.
     */
    spec_type: SpecType;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * A line for the log of the whole system.
 */
export interface AdwSystemLogPublication {
    type: "adw.system_log";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwSystemLogData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * One line for the log of the whole system; it belongs to no run.
 */
export interface AdwSystemLogData {
    /**
     * How important the line is.
     */
    level: LogLevel;
    /**
     * The line itself. Plain text from outside: show it as text, never as markup.
     */
    message: string;
    /**
     * More text about it.
     */
    details?: string;
    /**
     * Further values; free form.
     */
    context?: {
        [k: string]: unknown;
    };
}
/**
 * Whether a workflow that you asked for was started.
 */
export interface AdwTriggerResponsePublication {
    type: "adw.trigger_response";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwTriggerResponseData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The answer to the wish to start a workflow.
 */
export interface AdwTriggerResponseData {
    /**
     * What became of the wish.
     */
    status: TriggerStatus;
    /**
     * One line about it, for a person to read.
     */
    message: string;
    /**
     * The run that was started; absent when none was.
     */
    adw_id?: AdwId;
    /**
     * The workflow that was asked for, for instance `adw_plan_iso`.
     */
    workflow_name?: string;
    /**
     * The directory of the run's logs, relative to the root of the repository.
     */
    logs_path?: string;
    /**
     * What went wrong, when `status` is `error`.
     */
    error?: string;
}
/**
 * Where a workflow stands now.
 */
export interface AdwStatusUpdatePublication {
    type: "adw.status_update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwStatusUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * How far a workflow is.
 */
export interface AdwStatusUpdateData {
    /**
     * The run that this event is about.
     */
    adw_id: AdwId;
    /**
     * The workflow, for instance `adw_plan_iso`.
     */
    workflow_name: string;
    /**
     * Where the workflow stands.
     */
    status: WorkflowStatus;
    /**
     * One line about it, for a person to read.
     */
    message: string;
    /**
     * How much is done, 0 to 100.
     */
    progress_percent?: number;
    /**
     * What the workflow is doing now, for a person to read.
     */
    current_step?: string;
}
/**
 * One line for the log of a workflow.
 */
export interface AdwWorkflowLogPublication {
    type: "adw.workflow_log";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwWorkflowLogData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * One line for the log of a workflow.
 */
export interface AdwWorkflowLogData {
    /**
     * The run that this event is about.
     */
    adw_id: AdwId;
    /**
     * The workflow, for instance `adw_plan_iso`.
     */
    workflow_name: string;
    /**
     * The line itself. Plain text from outside: show it as text, never as markup.
     */
    message: string;
    /**
     * How important the line is.
     */
    level: LogLevel;
}
/**
 * A workflow's ticket has moved to another stage.
 */
export interface AdwStageTransitionPublication {
    type: "adw.stage_transition";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwStageTransitionData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A ticket has moved on the board.
 */
export interface AdwStageTransitionData {
    /**
     * The run that this event is about.
     */
    adw_id: AdwId;
    /**
     * The column that the ticket comes from; absent when it is new on the board.
     */
    from_stage?: WorkflowStage;
    /**
     * The column that the ticket is in now.
     */
    to_stage: WorkflowStage;
    /**
     * The workflow that moved it, for instance `adw_sdlc_iso`.
     */
    workflow_name?: string;
    /**
     * One line about it, for a person to read. May be empty.
     */
    message?: string;
}
/**
 * Your session has been registered.
 */
export interface AdwSessionRegisteredPublication {
    type: "adw.session_registered";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwSessionRegisteredData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A frontend's session was registered.
 */
export interface AdwSessionRegisteredData {
    /**
     * The session id that the frontend chose.
     */
    session_id: string;
    /**
     * One line about it, for a person to read.
     */
    message: string;
}
/**
 * Whether your ticket was received.
 */
export interface AdwTicketNotificationResponsePublication {
    type: "adw.ticket_notification_response";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwTicketNotificationResponseData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The answer to a ticket notification.
 */
export interface AdwTicketNotificationResponseData {
    /**
     * What became of the notification.
     */
    status: TicketStatus;
    /**
     * The ticket that it was about.
     */
    ticket_id: string;
    /**
     * One line about it, for a person to read.
     */
    message: string;
    /**
     * What went wrong, when `status` is `error`.
     */
    error?: string;
}
/**
 * A run has a new agent.
 */
export interface AdwAgentCreatedPublication {
    type: "adw.agent_created";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentCreatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A run has a new agent.
 */
export interface AdwAgentCreatedData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * What is known of the agent, for instance `issue_number` and `workflow_type`; free form.
     */
    agent?: {
        [k: string]: unknown;
    };
}
/**
 * What is known of a run's agent has changed.
 */
export interface AdwAgentUpdatedPublication {
    type: "adw.agent_updated";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentUpdatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What is known of a run's agent has changed.
 */
export interface AdwAgentUpdatedData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * What is known of the agent now; free form.
     */
    state?: {
        [k: string]: unknown;
    };
    /**
     * The names in `state` that changed; absent when the producer does not say.
     */
    changed_fields?: string[];
}
/**
 * A run's agent is gone.
 */
export interface AdwAgentDeletedPublication {
    type: "adw.agent_deleted";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentDeletedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A run's agent is gone.
 */
export interface AdwAgentDeletedData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
}
/**
 * A run's agent has changed its state.
 */
export interface AdwAgentStatusChangePublication {
    type: "adw.agent_status_change";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwAgentStatusChangeData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A run's agent has changed its state.
 */
export interface AdwAgentStatusChangeData {
    /**
     * The run that this event belongs to.
     */
    adw_id: AdwId;
    /**
     * The state before. Any text.
     */
    old_status: string;
    /**
     * The state now. Any text.
     */
    new_status: string;
    /**
     * One line about it, for a person to read.
     */
    message?: string;
}
/**
 * What is known of the orchestrating agent has changed.
 */
export interface AdwOrchestratorUpdatedPublication {
    type: "adw.orchestrator_updated";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwOrchestratorUpdatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * What is known of the orchestrating agent has changed.
 */
export interface AdwOrchestratorUpdatedData {
    /**
     * What is known of the orchestrator now, for instance its tokens and cost; free form.
     */
    orchestrator: {
        [k: string]: unknown;
    };
}
/**
 * A message in the chat with the orchestrating agent.
 */
export interface AdwChatMessagePublication {
    type: "adw.chat_message";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwChatMessageData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A message in the chat with the orchestrating agent.
 */
export interface AdwChatMessageData {
    /**
     * The message as the producer keeps it; free form.
     */
    message: {
        [k: string]: unknown;
    };
}
/**
 * The orchestrating agent is writing, or has stopped.
 */
export interface AdwTypingIndicatorPublication {
    type: "adw.typing_indicator";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AdwTypingIndicatorData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * The orchestrating agent is writing, or has stopped.
 */
export interface AdwTypingIndicatorData {
    /**
     * The orchestrating agent.
     */
    orchestrator_agent_id: string;
    /**
     * True while it is writing.
     */
    is_typing: boolean;
}
/**
 * A long operation goes on.
 */
export interface ChatWaitPublication {
    type: "chat.wait";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatWaitData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * A long operation goes on. A newer one replaces an older one. The newest is kept for those who join later, so look at its `time`: the operation may be over.
 */
export interface ChatWaitData {
    /**
     * What is going on: text for a person, or a word that frontends translate, such as `generating_ai_user_response`. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * What is at work, for instance `OpenAICodeAgent`.
     */
    source?: string;
    /**
     * How long it has been at work, in seconds.
     */
    elapsed_seconds?: number;
    /**
     * How long it may go on until it is given up, in seconds.
     */
    remaining_seconds?: number;
    /**
     * The steps of the work, where it has steps.
     */
    step_progress?: StepProgress;
}
/**
 * The steps of a long operation, and how many of them are behind it.
 */
export interface StepProgress {
    /**
     * How the steps follow each other.
     */
    mode: StepMode;
    /**
     * One after the other: the step under way, counted from 0. All at once: how many are done.
     */
    current: number;
    /**
     * How many steps there are.
     */
    total: number;
    /**
     * What each step is called, for a person to read.
     */
    steps: string[];
}
/**
 * A piece of the answer as it is being written.
 */
export interface ChatFragmentPublication {
    type: "chat.fragment";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatFragmentData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A piece of the model's answer as it is being written. The pieces, put one behind the other, are the text so far; `chat.html` brings the finished message. Pieces may reach you joined.
 */
export interface ChatFragmentData {
    /**
     * The next piece of the text. May be empty. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * The number of the piece within its text, counted from 0. Of joined pieces it is the number of the first, so the next one may be higher by more than one.
     */
    sequence?: number;
    /**
     * True on the piece that begins a text: what is shown of an earlier one goes.
     */
    is_first?: boolean;
    /**
     * The message that the text becomes, where the producer knows it. Pieces of different messages are different texts.
     */
    mid?: string;
}
/**
 * The answer has been written to its end.
 */
export interface ChatStreamingCompletePublication {
    type: "chat.streaming_complete";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatStreamingCompleteData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The model's answer has been written to its end.
 */
export interface ChatStreamingCompleteData {
    /**
     * The message that was written, as in `chat.fragment`.
     */
    mid?: string;
}
/**
 * What was written of the answer so far no longer counts.
 */
export interface ChatClearFragmentsPublication {
    type: "chat.clear_fragments";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatClearFragmentsData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What was written so far no longer counts: the answer begins anew, for instance after a tool has answered.
 */
export interface ChatClearFragmentsData {
    /**
     * The message that was being written, as in `chat.fragment`.
     */
    mid?: string;
}
/**
 * A piece of the model's thinking.
 */
export interface ChatThinkingPublication {
    type: "chat.thinking";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatThinkingData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A piece of the model's thinking as it goes on. The pieces, put one behind the other, are the thoughts.
 */
export interface ChatThinkingData {
    /**
     * The next piece of the thoughts. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * The message that is being thought about, where the producer knows it.
     */
    mid?: string;
}
/**
 * A piece of the model's reasoning.
 */
export interface ChatReasoningPublication {
    type: "chat.reasoning";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatReasoningData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A piece of the model's reasoning, for models that call their thinking so. The pieces, put one behind the other, are the reasoning.
 */
export interface ChatReasoningData {
    /**
     * The next piece of the reasoning. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * The message that is being reasoned about, where the producer knows it.
     */
    mid?: string;
}
/**
 * The model uses a tool.
 */
export interface ChatToolExecutingPublication {
    type: "chat.tool_executing";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatToolExecutingData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A tool is being used.
 */
export interface ChatToolExecutingData {
    /**
     * The tool.
     */
    tool_name: string;
}
/**
 * The model has stopped writing.
 */
export interface ChatTurnFinishedPublication {
    type: "chat.turn_finished";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTurnFinishedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The model has stopped writing. When it wants tools to be called, more follows.
 */
export interface ChatTurnFinishedData {
    /**
     * Why it stopped; absent when the producer does not say.
     */
    finish_reason?: FinishReason;
}
/**
 * The text area of the answer is to be emptied.
 */
export interface ChatClearedPublication {
    type: "chat.cleared";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatClearedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The text area of the answer is to be emptied.
 */
export interface ChatClearedData {
    [k: string]: unknown;
}
/**
 * What was under way has been cancelled.
 */
export interface ChatCancelPublication {
    type: "chat.cancel";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatCancelData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What was under way has been cancelled, as somebody of the session wished.
 */
export interface ChatCancelData {
    [k: string]: unknown;
}
/**
 * Something takes its time.
 */
export interface ChatProcessingStatusPublication {
    type: "chat.processing_status";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatProcessingStatusData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Something takes its time; said in the conversation, for a person to read.
 */
export interface ChatProcessingStatusData {
    /**
     * What takes its time. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * More about it; free form.
     */
    details?: {
        [k: string]: unknown;
    };
}
/**
 * The application says something in the conversation.
 */
export interface ChatSystemInfoPublication {
    type: "chat.system_info";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatSystemInfoData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Something that the application says in the conversation, for instance that another model answers.
 */
export interface ChatSystemInfoData {
    /**
     * What it says. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * More about it; free form.
     */
    details?: {
        [k: string]: unknown;
    };
}
/**
 * Something succeeded.
 */
export interface ChatSuccessPublication {
    type: "chat.success";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatSuccessData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Something succeeded.
 */
export interface ChatSuccessData {
    /**
     * What succeeded, for a person to read. Text from outside: show it as text, never as markup.
     */
    content: string;
}
/**
 * A passing remark of the application.
 */
export interface ChatNoticePublication {
    type: "chat.notice";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatNoticeData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A passing remark of the application, for a person to read.
 */
export interface ChatNoticeData {
    /**
     * The remark. Text from outside: show it as text, never as markup.
     */
    content: string;
}
/**
 * Something failed in the application.
 */
export interface ChatErrorPublication {
    type: "chat.error";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatErrorData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Something failed in the application. Only the session or the connection that it happened to sees this.
 */
export interface ChatErrorData {
    /**
     * What went wrong, for a person to read. Text from outside: show it as text, never as markup.
     */
    message: string;
    /**
     * What went wrong, as a word; absent when there is none for it.
     */
    key?: ChatErrorKey;
    /**
     * More about it, for a person to read.
     */
    details?: string;
}
/**
 * The person's message was taken in.
 */
export interface ChatUserPublication {
    type: "chat.user";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatUserData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The person's message was taken in.
 */
export interface ChatUserData {
    /**
     * The message.
     */
    message: ConversationMessage;
}
/**
 * One message of a conversation.
 */
export interface ConversationMessage {
    /**
     * Names the message within its session, usually eight hexadecimal digits.
     */
    mid: string;
    /**
     * Who says it.
     */
    role: MessageRole;
    /**
     * The message as it was written, usually Markdown. Text from outside: render it with care for what it may contain.
     */
    text: string;
    /**
     * The message as markup, where the back end renders it. It is made from text of others: sanitize it before you show it, or render `text` yourself.
     */
    html?: string;
    /**
     * The language of the message, for instance `en`.
     */
    lang?: string;
    /**
     * The app that the message belongs to, a key of `apps` in `chat.apps`.
     */
    app_name?: string;
    /**
     * Whether the model still sees the message: older ones fall out of what it is given. Absent when the producer does not say.
     */
    active?: boolean;
    /**
     * What the model thought before it answered. Text from outside, as `text` is.
     */
    thinking?: string;
    /**
     * Pictures and documents that belong to the message.
     */
    images?: MessageImage[];
    /**
     * True when `text` is JSON of a form that the app defines. Absent means false.
     */
    monadic?: boolean;
    /**
     * How many tokens the message has.
     */
    tokens?: number;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * A picture or a document that belongs to a message.
 */
export interface MessageImage {
    /**
     * The name of its file.
     */
    title: string;
    /**
     * The content as a `data:` URL.
     */
    data: string;
    /**
     * Its media type, for instance `image/png` or `application/pdf`.
     */
    mime_type?: string;
    /**
     * True when it marks the parts of another picture that are to be changed. Absent means false.
     */
    is_mask?: boolean;
    /**
     * The `title` of the picture that it masks.
     */
    mask_for?: string;
    /**
     * The mask as it is shown to people, as a `data:` URL.
     */
    display_data?: string;
}
/**
 * A finished message.
 */
export interface ChatHtmlPublication {
    type: "chat.html";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatHtmlData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A finished message. It takes the place of the fragments that were shown until now.
 */
export interface ChatHtmlData {
    /**
     * The message.
     */
    message: ConversationMessage;
    /**
     * True when the turn goes on behind it, for instance because tools are being called. Absent means false.
     */
    more_coming?: boolean;
}
/**
 * Messages that the model now sees, or no longer sees.
 */
export interface ChatChangeStatusPublication {
    type: "chat.change_status";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatChangeStatusData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Messages have come into the sight of the model, or have fallen out of it. Messages that are not listed stay as they were.
 */
export interface ChatChangeStatusData {
    /**
     * The messages and whether the model sees them now.
     */
    messages: MessageStatus[];
}
/**
 * Whether the model still sees one message.
 */
export interface MessageStatus {
    /**
     * The message, as in `chat.html` and `chat.user`.
     */
    mid: string;
    /**
     * True while the model sees it.
     */
    active: boolean;
}
/**
 * A message was changed.
 */
export interface ChatEditSuccessPublication {
    type: "chat.edit_success";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatEditSuccessData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A message was changed.
 */
export interface ChatEditSuccessData {
    /**
     * One line about it, for a person to read.
     */
    content: string;
    /**
     * The message, as in `chat.html` and `chat.user`.
     */
    mid: string;
    /**
     * Who says it.
     */
    role: MessageRole;
    /**
     * The message as it is written now; absent when the producer does not say. Text from outside: render it with care for what it may contain.
     */
    text?: string;
    /**
     * The message as markup, where the back end renders it. Sanitize it before you show it.
     */
    html?: string;
    /**
     * Pictures and documents that belong to the message.
     */
    images?: MessageImage[];
}
/**
 * An example message is to be shown.
 */
export interface ChatDisplaySamplePublication {
    type: "chat.display_sample";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatDisplaySampleData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A message that was made up as an example is to be shown at once. `chat.html` with the same `mid` follows.
 */
export interface ChatDisplaySampleData {
    /**
     * The message, as in the `chat.html` that follows.
     */
    mid: string;
    /**
     * Who says it.
     */
    role: MessageRole;
    /**
     * The message as it was written; absent when there is only `html`. Text from outside: render it with care for what it may contain.
     */
    text?: string;
    /**
     * The message as markup. Sanitize it before you show it.
     */
    html?: string;
    /**
     * The heading of the message as markup, where the back end makes it. Sanitize it before you show it.
     */
    badge?: string;
}
/**
 * The example message was added.
 */
export interface ChatSampleSuccessPublication {
    type: "chat.sample_success";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatSampleSuccessData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The example message was added.
 */
export interface ChatSampleSuccessData {
    /**
     * Who says the message.
     */
    role: MessageRole;
}
/**
 * A program begins to write what the person might say.
 */
export interface ChatAiUserStartedPublication {
    type: "chat.ai_user_started";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatAiUserStartedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A program begins to write what the person might say next.
 */
export interface ChatAiUserStartedData {
    [k: string]: unknown;
}
/**
 * What the person might say next.
 */
export interface ChatAiUserPublication {
    type: "chat.ai_user";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatAiUserData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What the person might say next. `chat.ai_user_finished` follows.
 */
export interface ChatAiUserData {
    /**
     * The text. Text from outside: show it as text, never as markup.
     */
    content: string;
}
/**
 * The program has written what the person might say.
 */
export interface ChatAiUserFinishedPublication {
    type: "chat.ai_user_finished";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatAiUserFinishedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The program has written what the person might say next.
 */
export interface ChatAiUserFinishedData {
    /**
     * The whole text. Text from outside: show it as text, never as markup.
     */
    content: string;
}
/**
 * The apps that can be chosen.
 */
export interface ChatAppsPublication {
    type: "chat.apps";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatAppsData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * The apps that the person can choose from. A newer one replaces an older one.
 */
export interface ChatAppsData {
    /**
     * Each app by its name, with its settings; free form.
     */
    apps: {
        [k: string]: unknown;
    };
    /**
     * Version of the application.
     */
    version?: string;
    /**
     * Whether the application runs in a container.
     */
    docker?: boolean;
    /**
     * The app that the session has already chosen; a new tab chooses the same without asking.
     */
    current_app_name?: string;
    /**
     * True when it belongs to a conversation that was just imported. Absent means false.
     */
    from_import?: boolean;
}
/**
 * The parameters of the session.
 */
export interface ChatParametersPublication {
    type: "chat.parameters";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatParametersData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * The parameters of the session: app, model, language and what else the app has. A newer one replaces an older one.
 */
export interface ChatParametersData {
    /**
     * Each parameter by its name, for instance `app_name` and `model`; free form.
     */
    parameters: {
        [k: string]: unknown;
    };
    /**
     * True when they changed because somebody of the session changed them: take them over and do not send them again. Absent means false.
     */
    from_param_update?: boolean;
    /**
     * True when they belong to a conversation that was just imported. Absent means false.
     */
    from_import?: boolean;
}
/**
 * The conversation as it was at this time.
 */
export interface ChatPastMessagesPublication {
    type: "chat.past_messages";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPastMessagesData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * The conversation as it was at this time. What was said since comes as `chat.user` and `chat.html`. A newer one replaces an older one.
 */
export interface ChatPastMessagesData {
    /**
     * The messages, oldest first.
     */
    messages: ConversationMessage[];
    /**
     * True when a page asked for them as it was loading, so nothing of it is new: read nothing aloud. Absent means false.
     */
    from_initial_load?: boolean;
    /**
     * True when they belong to a conversation that was just imported. Absent means false.
     */
    from_import?: boolean;
}
/**
 * How large the conversation is.
 */
export interface ChatStatsPublication {
    type: "chat.stats";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatStatsData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * How large the conversation is. A newer one replaces an older one. Numbers that could not be counted are absent.
 */
export interface ChatStatsData {
    /**
     * True when messages have come into the sight of the model, or have fallen out of it.
     */
    changed: boolean;
    /**
     * How many messages the conversation has.
     */
    count_messages: number;
    /**
     * How many of them the model sees.
     */
    count_active_messages: number;
    /**
     * How many tokens the instructions have.
     */
    count_total_system_tokens?: number;
    /**
     * How many tokens the person's messages have.
     */
    count_total_input_tokens?: number;
    /**
     * How many tokens the model's messages have.
     */
    count_total_output_tokens?: number;
    /**
     * How many tokens the messages have that the model sees.
     */
    count_total_active_tokens?: number;
    /**
     * How many tokens all messages have.
     */
    count_all_tokens?: number;
    /**
     * How tokens were counted, for instance `o200k_base`.
     */
    encoding_name?: string;
    /**
     * Why tokens could not be counted, for a person to read.
     */
    error?: string;
}
/**
 * The conversation goes on in another language.
 */
export interface ChatLanguageUpdatedPublication {
    type: "chat.language_updated";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLanguageUpdatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The conversation goes on in another language.
 */
export interface ChatLanguageUpdatedData {
    /**
     * The language, for instance `ar`, or `auto`.
     */
    language: string;
    /**
     * The language for a person to read.
     */
    language_name: string;
    /**
     * The direction in which it is written.
     */
    text_direction: TextDirection;
}
/**
 * What is worth remembering of the conversation is being looked for.
 */
export interface ChatContextExtractionStartedPublication {
    type: "chat.context_extraction_started";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatContextExtractionStartedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The application begins to look for what is worth remembering of the conversation. `chat.context_update` follows.
 */
export interface ChatContextExtractionStartedData {
    [k: string]: unknown;
}
/**
 * What is remembered of the conversation.
 */
export interface ChatContextUpdatePublication {
    type: "chat.context_update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatContextUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What is remembered of the conversation now.
 */
export interface ChatContextUpdateData {
    /**
     * What is remembered, by the names of `schema`; free form.
     */
    context: {
        [k: string]: unknown;
    };
    /**
     * What the app remembers and how that is shown; free form. Absent when it stays as it was.
     */
    schema?: {
        [k: string]: unknown;
    };
    /**
     * True when it belongs to a conversation that was just imported. Absent means false.
     */
    from_import?: boolean;
}
/**
 * The voices of one provider.
 */
export interface ChatVoicesPublication {
    type: "chat.voices";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatVoicesData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * The voices of one provider. The same for everybody; a newer list replaces an older one of the same provider.
 */
export interface ChatVoicesData {
    /**
     * Whose voices they are.
     */
    provider: VoiceProvider;
    /**
     * The voices, in the order in which they are shown.
     */
    voices: Voice[];
}
/**
 * One voice that can speak.
 */
export interface Voice {
    /**
     * Names the voice to its provider.
     */
    voice_id: string;
    /**
     * Names the voice to people.
     */
    name: string;
}
/**
 * Whether other programs can use the application's tools.
 */
export interface ChatMcpStatusPublication {
    type: "chat.mcp_status";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatMcpStatusData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * Whether other programs can use the tools of the application, over the Model Context Protocol (MCP).
 */
export interface ChatMcpStatusData {
    /**
     * Whether it is wished.
     */
    enabled: boolean;
    /**
     * The TCP port that it is offered on.
     */
    port?: number;
    /**
     * Whether it is offered now.
     */
    running?: boolean;
}
/**
 * What the person said, as text.
 */
export interface ChatSttPublication {
    type: "chat.stt";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatSttData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What the person said, as text.
 */
export interface ChatSttData {
    /**
     * The words. Text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * How sure the recognition is, 0 to 1; absent when it does not say.
     */
    confidence?: number;
}
/**
 * What has been understood so far of what the person is saying.
 */
export interface ChatSttPartialPublication {
    type: "chat.stt_partial";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatSttPartialData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * What has been understood so far of what the person is saying. Each one holds the whole text; `chat.stt` is the last word.
 */
export interface ChatSttPartialData {
    /**
     * The words so far. Text from outside: show it as text, never as markup.
     */
    content: string;
}
/**
 * Speech, or a chunk of it.
 */
export interface ChatAudioPublication {
    type: "chat.audio";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatAudioData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Speech: a whole clip, or a chunk of one. Play what comes in the order in which it comes.
 */
export interface ChatAudioData {
    /**
     * The sound in base64 (standard alphabet, padded). Empty on the chunk that ends a clip.
     */
    content_base64: string;
    /**
     * Its media type, for instance `audio/mpeg`; absent when the wish for speech settled it.
     */
    mime_type?: string;
    /**
     * Names the clip: a frontend that has played it ignores it.
     */
    sequence_id?: string;
    /**
     * True when the clip speaks one segment of a longer text. Absent means false.
     */
    is_segment?: boolean;
    /**
     * Which segment of the text it speaks, counted from 0.
     */
    segment_index?: number;
    /**
     * How many segments the text has.
     */
    total_segments?: number;
    /**
     * Which chunk of the clip it is, counted from 1; absent when it is the whole clip.
     */
    chunk_index?: number;
    /**
     * True on the chunk that ends the clip. Absent means false.
     */
    finished?: boolean;
}
/**
 * A piece of the answer with its speech.
 */
export interface ChatFragmentWithAudioPublication {
    type: "chat.fragment_with_audio";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatFragmentWithAudioData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A piece of the model's answer and the speech for it, at once.
 */
export interface ChatFragmentWithAudioData {
    /**
     * The piece of the answer, as in `chat.fragment`.
     */
    fragment: ChatFragmentData;
    /**
     * The speech, as in `chat.audio`.
     */
    audio: ChatAudioData;
}
/**
 * Text that the browser is to speak.
 */
export interface ChatWebSpeechPublication {
    type: "chat.web_speech";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatWebSpeechData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Text that the browser is to speak with a voice of its own.
 */
export interface ChatWebSpeechData {
    /**
     * The text.
     */
    content: string;
}
/**
 * How far a text has been turned into speech.
 */
export interface ChatTtsProgressPublication {
    type: "chat.tts_progress";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTtsProgressData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * How far a text has been turned into speech. A newer one replaces an older one.
 */
export interface ChatTtsProgressData {
    /**
     * The segment that was done last, counted from 0.
     */
    segment_index: number;
    /**
     * How many segments the text has.
     */
    total_segments: number;
    /**
     * How much is done, 0 to 100.
     */
    progress_percent: number;
}
/**
 * A text has been turned into speech.
 */
export interface ChatTtsCompletePublication {
    type: "chat.tts_complete";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTtsCompleteData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The text has been turned into speech; all of it has been sent.
 */
export interface ChatTtsCompleteData {
    /**
     * How many segments the text had.
     */
    total_segments: number;
}
/**
 * The speech has been stopped.
 */
export interface ChatTtsStoppedPublication {
    type: "chat.tts_stopped";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTtsStoppedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The speech has been stopped, as somebody of the session wished.
 */
export interface ChatTtsStoppedData {
    [k: string]: unknown;
}
/**
 * How much of a text is going to be spoken.
 */
export interface ChatTtsNoticePublication {
    type: "chat.tts_notice";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTtsNoticeData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * How much of a text is going to be spoken.
 */
export interface ChatTtsNoticeData {
    /**
     * What it says.
     */
    notice_type: TtsNoticeType;
    /**
     * How many segments of the text are spoken.
     */
    played_segments?: number;
    /**
     * How many segments the text has.
     */
    total_segments?: number;
    /**
     * How many bytes of the text are spoken.
     */
    played_bytes?: number;
    /**
     * How many bytes the text has, as UTF-8.
     */
    total_bytes?: number;
}
/**
 * The key for the model provider works.
 */
export interface ChatTokenVerifiedPublication {
    type: "chat.token_verified";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTokenVerifiedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The application's key for its model provider works.
 */
export interface ChatTokenVerifiedData {
    /**
     * The key itself, for frontends that show it. It is a secret; a back end leaves it out where it can.
     */
    token?: string;
    /**
     * What the provider said to the key, for a person to read.
     */
    content?: string;
    /**
     * The instructions with which a program plays the person, as the application proposes them.
     */
    ai_user_initial_prompt?: string;
}
/**
 * There is no key for the model provider that works.
 */
export interface ChatTokenNotVerifiedPublication {
    type: "chat.token_not_verified";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatTokenNotVerifiedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The application has no key for its model provider, or one that does not work.
 */
export interface ChatTokenNotVerifiedData {
    [k: string]: unknown;
}
/**
 * The model provider could not be asked about the key.
 */
export interface ChatOpenAiApiErrorPublication {
    type: "chat.open_ai_api_error";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatOpenAiApiErrorData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The model provider could not be asked about the key.
 */
export interface ChatOpenAiApiErrorData {
    [k: string]: unknown;
}
/**
 * The PDF documents that there are.
 */
export interface ChatPdfTitlesPublication {
    type: "chat.pdf_titles";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPdfTitlesData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The PDF documents that the application has.
 */
export interface ChatPdfTitlesData {
    /**
     * The title of each document. Text from outside: show it as text, never as markup.
     */
    titles: string[];
}
/**
 * Whether a PDF document was deleted.
 */
export interface ChatPdfDeletedPublication {
    type: "chat.pdf_deleted";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPdfDeletedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Whether a PDF document was deleted.
 */
export interface ChatPdfDeletedData {
    /**
     * True when it is gone.
     */
    success: boolean;
    /**
     * One line about it, for a person to read.
     */
    content: string;
}
/**
 * Whether personal data is masked.
 */
export interface ChatPrivacyStatePublication {
    type: "chat.privacy_state";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPrivacyStateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * Whether personal data is masked before the model provider sees it. A newer one replaces an older one.
 */
export interface ChatPrivacyStateData {
    /**
     * True when it is masked.
     */
    enabled: boolean;
    /**
     * How much has been masked so far: the number of placeholders.
     */
    registry_count?: number;
    /**
     * Why masking does not work, for a person to read.
     */
    error?: string;
    /**
     * Which language the masking goes by, where it finds that out itself.
     */
    detection?: PrivacyDetection;
}
/**
 * Which language the masking of personal data goes by.
 */
export interface PrivacyDetection {
    /**
     * The language, for instance `en`; absent while it is not known.
     */
    language?: string;
    /**
     * Whether the language was recognized with certainty.
     */
    reliable?: boolean;
    /**
     * True when the language stays what it is for this session.
     */
    locked?: boolean;
    /**
     * How often the language has been looked for.
     */
    attempts?: number;
}
/**
 * Whether your wish to mask personal data was fulfilled.
 */
export interface ChatPrivacyToggleAckPublication {
    type: "chat.privacy_toggle_ack";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPrivacyToggleAckData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The answer to the wish to mask personal data, or no longer to. It says what holds now.
 */
export interface ChatPrivacyToggleAckData {
    /**
     * True when personal data is masked from now on.
     */
    enabled: boolean;
    /**
     * Why the wish was not fulfilled, for instance `privacy_container_unreachable`.
     */
    error?: string;
}
/**
 * What has been masked so far.
 */
export interface ChatPrivacyRegistryPublication {
    type: "chat.privacy_registry";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPrivacyRegistryData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What has been masked so far in this session. It is the personal data itself: show it and do not keep it.
 */
export interface ChatPrivacyRegistryData {
    /**
     * True when personal data is masked.
     */
    enabled: boolean;
    /**
     * Each placeholder with what it stands for.
     */
    entries: PrivacyEntry[];
}
/**
 * One placeholder.
 */
export interface PrivacyEntry {
    /**
     * What the model provider sees.
     */
    placeholder: string;
    /**
     * What it stands for. Text from outside: show it as text, never as markup.
     */
    original: string;
    /**
     * What kind of data it is, for instance `PERSON`; `UNKNOWN` when the placeholder does not say.
     */
    entity_type: string;
}
/**
 * The conversation as a file.
 */
export interface ChatPrivacyExportDataPublication {
    type: "chat.privacy_export_data";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPrivacyExportDataData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * An export of the conversation, as a file to be saved.
 */
export interface ChatPrivacyExportDataData {
    /**
     * The name of the file.
     */
    filename: string;
    /**
     * The file in base64 (standard alphabet, padded).
     */
    content_base64: string;
    /**
     * Its media type.
     */
    mime_type: string;
    /**
     * Whether the file is encrypted with a passphrase.
     */
    encrypted: boolean;
    /**
     * What it holds where personal data was masked.
     */
    export_content: ExportContent;
}
/**
 * The conversation was not exported.
 */
export interface ChatPrivacyExportErrorPublication {
    type: "chat.privacy_export_error";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatPrivacyExportErrorData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The conversation was not exported.
 */
export interface ChatPrivacyExportErrorData {
    /**
     * Why.
     */
    error: PrivacyExportFault;
    /**
     * More about it, for a person to read.
     */
    details?: string;
    /**
     * The contents that can be wished for.
     */
    valid_content?: ExportContent[];
}
/**
 * Several models are being asked about an answer.
 */
export interface ChatVerifyConfidenceStartPublication {
    type: "chat.verify_confidence_start";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatVerifyConfidenceStartData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Several models are being asked about an answer. `chat.verify_confidence` follows.
 */
export interface ChatVerifyConfidenceStartData {
    /**
     * The answer's message.
     */
    mid: string;
}
/**
 * What several models say about an answer.
 */
export interface ChatVerifyConfidencePublication {
    type: "chat.verify_confidence";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatVerifyConfidenceData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What several models say about an answer.
 */
export interface ChatVerifyConfidenceData {
    /**
     * The answer's message.
     */
    mid: string;
    /**
     * How far the models agree.
     */
    confidence: Confidence;
    /**
     * The same as a number, 0 to 1; absent when there is none.
     */
    score?: number;
    /**
     * How the answer compares with what they agree on.
     */
    corroboration?: Corroboration;
    /**
     * What to do with the answer.
     */
    recommendation?: Recommendation;
    /**
     * What they agree on. Text from outside: show it as text, never as markup.
     */
    consensus?: string;
    /**
     * Where they disagree, a line for each point. Text from outside, as `consensus` is.
     */
    disagreements?: string[];
    /**
     * What each model answered.
     */
    responses?: PanelResponse[];
    /**
     * How many of them gave an answer that could be compared.
     */
    panel_count?: number;
    /**
     * Whether the answers came from more than one provider; those of one provider share its faults.
     */
    cross_provider?: boolean;
    /**
     * The model that compared the answers.
     */
    moderator?: Moderator;
    /**
     * A remark on the comparison, for a person to read.
     */
    note?: string;
    /**
     * Why the answers could not be compared, for a person to read.
     */
    judge_error?: string;
}
/**
 * What one model answered.
 */
export interface PanelResponse {
    /**
     * Whose model it is.
     */
    provider: string;
    /**
     * The model.
     */
    model?: string;
    /**
     * True when it answered.
     */
    success: boolean;
    /**
     * Its answer. Text from outside: render it with care for what it may contain.
     */
    text?: string;
    /**
     * Why it did not answer, for a person to read.
     */
    error?: string;
}
/**
 * The model that compares what others answered.
 */
export interface Moderator {
    /**
     * Whose model it is.
     */
    provider: string;
    /**
     * The model.
     */
    model?: string;
}
/**
 * The conversations in the library.
 */
export interface ChatLibraryConversationsPublication {
    type: "chat.library_conversations";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryConversationsData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The conversations that are kept.
 */
export interface ChatLibraryConversationsData {
    /**
     * The conversations, newest first.
     */
    conversations: LibraryConversation[];
    /**
     * Why they could not be listed, for a person to read; the list is empty then.
     */
    error?: string;
}
/**
 * What is known of a conversation that is kept.
 */
export interface LibraryConversation {
    /**
     * Names the conversation in the library.
     */
    conversation_id: string;
    /**
     * What it is, for instance `conversation`.
     */
    content_type?: string;
    /**
     * Its title. Text from outside: show it as text, never as markup.
     */
    title?: string;
    /**
     * Where it comes from.
     */
    source?: string;
    /**
     * Its language, for instance `en`.
     */
    language?: string;
    /**
     * Its license.
     */
    license?: string;
    /**
     * The app that may look things up in it, or `Global` for all.
     */
    scope_app?: string;
    /**
     * How many messages it has.
     */
    messages_count?: number;
    /**
     * How many turns it has.
     */
    turns_count?: number;
    /**
     * How long it lasted, in seconds.
     */
    duration_seconds?: number;
    /**
     * What it is about.
     */
    topics?: string[];
    /**
     * When it was put into the library.
     */
    created_at?: Time;
}
/**
 * How much the library holds.
 */
export interface ChatLibraryStatsPublication {
    type: "chat.library_stats";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryStatsData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * How much the library holds.
 */
export interface ChatLibraryStatsData {
    /**
     * How many conversations.
     */
    conversations_total: number;
    /**
     * How many for each app that may look things up in them; `Global` is all apps.
     */
    conversations_by_scope?: {
        [k: string]: number;
    };
    /**
     * Why they could not be counted, for a person to read; the numbers are 0 then.
     */
    error?: string;
}
/**
 * Whether a conversation was taken out of the library.
 */
export interface ChatLibraryDeletedPublication {
    type: "chat.library_deleted";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryDeletedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Whether a conversation was taken out of the library.
 */
export interface ChatLibraryDeletedData {
    /**
     * True when it is gone.
     */
    success: boolean;
    /**
     * One line about it, for a person to read.
     */
    content: string;
    /**
     * The conversation, if the wish named one.
     */
    conversation_id?: string;
}
/**
 * Whether your conversation was put into the library.
 */
export interface ChatLibrarySavedPublication {
    type: "chat.library_saved";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibrarySavedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Whether the conversation of this session was put into the library.
 */
export interface ChatLibrarySavedData {
    /**
     * True when the library has it.
     */
    success: boolean;
    /**
     * One line about it, for a person to read.
     */
    content: string;
    /**
     * The conversation in the library; name it when you save again.
     */
    conversation_id?: string;
    /**
     * True when it took the place of what the library had of it.
     */
    updated?: boolean;
    /**
     * The app that may look things up in it, or `Global` for all.
     */
    scope_app?: string;
    /**
     * How many entries it has in the library, by their kind.
     */
    counts?: {
        [k: string]: number;
    };
}
/**
 * Whether the model looks things up in the library.
 */
export interface ChatLibraryRagStatePublication {
    type: "chat.library_rag_state";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryRagStateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Whether the model looks things up in the library while it answers.
 */
export interface ChatLibraryRagStateData {
    /**
     * True when it does.
     */
    enabled: boolean;
}
/**
 * A title for your conversation.
 */
export interface ChatLibraryTitleSuggestedPublication {
    type: "chat.library_title_suggested";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryTitleSuggestedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A title for the conversation, as a model proposes it.
 */
export interface ChatLibraryTitleSuggestedData {
    /**
     * True when there is a proposal.
     */
    success: boolean;
    /**
     * The title. Text from outside: show it as text, never as markup.
     */
    title?: string;
}
/**
 * Whether another app may use a conversation of the library.
 */
export interface ChatLibraryScopeUpdatedPublication {
    type: "chat.library_scope_updated";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryScopeUpdatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Whether another app may now look things up in a conversation of the library.
 */
export interface ChatLibraryScopeUpdatedData {
    /**
     * True when it may.
     */
    success: boolean;
    /**
     * What went wrong, for a person to read.
     */
    content?: string;
    /**
     * The conversation, if the wish named one.
     */
    conversation_id?: string;
    /**
     * The app, or `Global` for all.
     */
    scope_app?: string;
}
/**
 * Whether a conversation of the library has a new title.
 */
export interface ChatLibraryRenamedPublication {
    type: "chat.library_renamed";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryRenamedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Whether a conversation of the library has a new title.
 */
export interface ChatLibraryRenamedData {
    /**
     * True when it has.
     */
    success: boolean;
    /**
     * What went wrong, for a person to read.
     */
    content?: string;
    /**
     * The conversation, if the wish named one.
     */
    conversation_id?: string;
    /**
     * The title. Text from outside: show it as text, never as markup.
     */
    title?: string;
}
/**
 * A conversation of the library, to be read.
 */
export interface ChatLibraryConversationDataPublication {
    type: "chat.library_conversation_data";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ChatLibraryConversationDataData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A conversation of the library, to be read.
 */
export interface ChatLibraryConversationDataData {
    /**
     * True when there is such a conversation.
     */
    success: boolean;
    /**
     * What went wrong, for a person to read.
     */
    content?: string;
    /**
     * The conversation, if the wish named one.
     */
    conversation_id?: string;
    /**
     * The conversation itself.
     */
    conversation?: LibraryRecord;
}
/**
 * A conversation as the library keeps it.
 */
export interface LibraryRecord {
    /**
     * What is known of it.
     */
    summary: LibraryConversation;
    /**
     * Its messages as the library keeps them, oldest first; free form. Absent when only what they are about was kept.
     */
    messages?: {
        [k: string]: unknown;
    }[];
    /**
     * Who took part; free form.
     */
    participants?: {
        [k: string]: unknown;
    }[];
    /**
     * Why its messages were not kept, for a person to read.
     */
    skipped_reason?: string;
}
/**
 * Where the processing of a document stands.
 */
export interface DocumentStatusPublication {
    type: "document.status";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: DocumentStatusData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * Where the processing of a document stands. A newer one replaces an older one of the same document.
 */
export interface DocumentStatusData {
    /**
     * The document.
     */
    document_id: ItemId;
    /**
     * Where its processing stands.
     */
    status: DocumentState;
    /**
     * How much is done, 0 to 100.
     */
    percent?: number;
    /**
     * What is being done, for a person to read.
     */
    message?: string;
    /**
     * What went wrong, when `status` is `error`.
     */
    error?: string;
}
/**
 * A step on the way to the answer to a question; the last has the answer.
 */
export interface RagProgressPublication {
    type: "rag.progress";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: RagProgressData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A step on the way to the answer to a question about documents; the last one has the answer.
 */
export interface RagProgressData {
    /**
     * The question, as the back end named it when it was asked.
     */
    query_id: ItemId;
    /**
     * The stage that is reached.
     */
    stage: RagStage;
    /**
     * What is being done, for a person to read.
     */
    message?: string;
    /**
     * How much is done, 0 to 100.
     */
    percent?: number;
    /**
     * The answer, when `stage` is `complete`; in the back end's own form.
     */
    result?: AnyValue;
}
/**
 * Any object.
 */
export interface AnyObject {
    [k: string]: unknown;
}
/**
 * A piece of a chat message as it is being written.
 */
export interface MessageChunkPublication {
    type: "message.chunk";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: MessageChunkData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A piece of a chat message as it is being written. The pieces of one message, put one behind the other, are the message.
 */
export interface MessageChunkData {
    /**
     * The message.
     */
    message_id: ItemId;
    /**
     * The conversation that the message belongs to, as the application names it. Not a session of this protocol: show the message in this conversation, and nowhere else.
     */
    session_id: ItemId;
    /**
     * The next piece of the text. May be empty. Plain text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * True on the piece that ends the message.
     */
    is_complete: boolean;
}
/**
 * What happens in an installation, its terminal output included.
 */
export interface InstallProgressPublication {
    type: "install.progress";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: InstallProgressData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * What happens in an installation: a new stage or status, or a piece of terminal output, or several of these at once. A member that is absent has not changed.
 */
export interface InstallProgressData {
    /**
     * The installation.
     */
    install_id: ItemId;
    /**
     * What it is at now.
     */
    stage?: InstallStage;
    /**
     * How it fares as a whole.
     */
    status?: InstallStatus;
    /**
     * What is being done, for a person to read.
     */
    message?: string;
    /**
     * The next piece of terminal output, with its line breaks. May end inside of a line and may hold terminal control codes. Plain text from outside: show it as text, never as markup.
     */
    output?: string;
    /**
     * Where `output` was written.
     */
    stream?: OutputStream;
    /**
     * How much is done, 0 to 100.
     */
    percent?: number;
}
/**
 * Your login ends soon.
 */
export interface SessionExpiringPublication {
    type: "session.expiring";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: SessionExpiringData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The user's login ends soon. It is told again every minute until the user does something or the login ends.
 */
export interface SessionExpiringData {
    /**
     * How the login fares.
     */
    status: LoginStatus;
    /**
     * Seconds until the login ends, counted from the event's `time`; 0 when it has ended.
     */
    expires_in_seconds: number;
}
/**
 * What another user is doing at this moment.
 */
export interface UserActivityPublication {
    type: "user.activity";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: UserActivityData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * What another user is doing at this moment. Nothing is kept of it: who comes later hears of the next thing they do.
 */
export interface UserActivityData {
    /**
     * The user.
     */
    user_id: UserId;
    /**
     * The name to show for the user. Plain text from outside: show it as text, never as markup.
     */
    username: string;
    /**
     * What the user does.
     */
    action: UserAction;
    /**
     * The document that the user does it with.
     */
    document_id?: ItemId;
}
/**
 * A connection to an MCP server is being made.
 */
export interface McpConnectingPublication {
    type: "mcp.connecting";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpConnectingData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A connection to an MCP server is being made. `mcp.connected` or `mcp.connect_error` follows.
 */
export interface McpConnectingData {
    /**
     * The connection to the MCP server, as the back end names it.
     */
    mcp_connection_id: ItemId;
    /**
     * The server's host name or address.
     */
    host: string;
    /**
     * The server's port, 1 to 65535.
     */
    port: number;
}
/**
 * An MCP server is reached and its tools can be used.
 */
export interface McpConnectedPublication {
    type: "mcp.connected";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpConnectedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The MCP server is reached and its tools can be used.
 */
export interface McpConnectedData {
    /**
     * The connection to the MCP server, as the back end names it.
     */
    mcp_connection_id: ItemId;
    /**
     * The name that the MCP server gave to the back end. Any text.
     */
    client_id: string;
    /**
     * The server's host name or address.
     */
    host: string;
    /**
     * The server's port, 1 to 65535.
     */
    port: number;
}
/**
 * An MCP server could not be reached.
 */
export interface McpConnectErrorPublication {
    type: "mcp.connect_error";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpConnectErrorData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The MCP server could not be reached.
 */
export interface McpConnectErrorData {
    /**
     * What went wrong, for a person to read.
     */
    error: string;
    /**
     * The connection, as in `mcp.connecting`; absent when none was begun.
     */
    mcp_connection_id?: ItemId;
    /**
     * The server's host name or address, when one was given.
     */
    host?: string;
    /**
     * The server's port, 1 to 65535, when one was given.
     */
    port?: number;
}
/**
 * A tool of an MCP server has answered.
 */
export interface McpToolResultPublication {
    type: "mcp.tool_result";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpToolResultData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A tool of an MCP server has answered.
 */
export interface McpToolResultData {
    /**
     * The connection to the MCP server, as the back end names it.
     */
    mcp_connection_id: ItemId;
    /**
     * The answer, in the MCP server's own form. From outside: show texts in it as text, never as markup.
     */
    result: AnyValue;
}
/**
 * The connection to an MCP server has ended.
 */
export interface McpDisconnectedPublication {
    type: "mcp.disconnected";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpDisconnectedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The connection to an MCP server has ended.
 */
export interface McpDisconnectedData {
    /**
     * The connection to the MCP server, as the back end names it.
     */
    mcp_connection_id: ItemId;
}
/**
 * The connection to an MCP server was lost and is being made again.
 */
export interface McpReconnectingPublication {
    type: "mcp.reconnecting";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpReconnectingData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The connection to an MCP server was lost and is being made again. `mcp.connected` or `mcp.connect_error` follows.
 */
export interface McpReconnectingData {
    /**
     * The connection to the MCP server, as the back end names it.
     */
    mcp_connection_id: ItemId;
    /**
     * Why, for a person to read.
     */
    message?: string;
}
/**
 * Something that an MCP server sent, passed on as it came.
 */
export interface McpSseEventPublication {
    type: "mcp.sse_event";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: McpSseEventData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * Something that an MCP server sent over its event stream, passed on as it came. Results of tools come as `mcp.tool_result` as well.
 */
export interface McpSseEventData {
    /**
     * The connection to the MCP server, as the back end names it.
     */
    mcp_connection_id: ItemId;
    /**
     * What came, in the MCP server's own form. From outside: show texts in it as text, never as markup.
     */
    event: AnyValue;
}
/**
 * The figures of the dashboard, as they are now.
 */
export interface MetricsUpdatePublication {
    type: "metrics.update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: MetricsUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * The figures of the dashboard, as they are now, counted over the window that this connection asked for. They come when one of them has changed, and when they were asked for.
 */
export interface MetricsUpdateData {
    /**
     * Figures of the whole system.
     */
    overview: MetricsOverview;
    /**
     * Figures of the agents' own sessions; absent when the producer does not count them.
     */
    sessions?: SessionMetrics;
    /**
     * What has happened of late, newest first.
     */
    activity?: ActivityEntry[];
    /**
     * How far back the figures count, in hours, 1 to 168.
     */
    window_hours?: number;
}
/**
 * Figures of the whole system. A group that the producer does not count is absent.
 */
export interface MetricsOverview {
    /**
     * How many tasks there are.
     */
    tasks?: TaskMetrics;
    /**
     * What the models cost.
     */
    costs?: CostMetrics;
    /**
     * How much the models were used.
     */
    claude_api?: ClaudeApiMetrics;
    /**
     * How often tools were used.
     */
    tools?: ToolMetrics;
    /**
     * What the producer counts besides, by name; free form.
     */
    more?: {
        [k: string]: unknown;
    };
}
/**
 * How many tasks there are.
 */
export interface TaskMetrics {
    /**
     * All tasks of the window.
     */
    total: number;
    /**
     * Of these, the ones that are being worked on.
     */
    running?: number;
    /**
     * Of these, the ones that ended well.
     */
    completed?: number;
    /**
     * Of these, the ones that ended badly.
     */
    failed?: number;
}
/**
 * What the models cost.
 */
export interface CostMetrics {
    /**
     * All models together, in US dollars.
     */
    total_cost_usd: number;
    /**
     * The models named Haiku, in US dollars.
     */
    haiku_cost_usd?: number;
    /**
     * The models named Sonnet, in US dollars.
     */
    sonnet_cost_usd?: number;
}
/**
 * How much the models were used.
 */
export interface ClaudeApiMetrics {
    /**
     * Requests to the models.
     */
    total_requests: number;
    /**
     * Tokens that the models read.
     */
    total_input_tokens?: number;
    /**
     * Tokens that the models wrote.
     */
    total_output_tokens?: number;
}
/**
 * How often tools were used.
 */
export interface ToolMetrics {
    /**
     * Calls of all tools together.
     */
    total_calls: number;
    /**
     * Calls of each tool, by its name, for instance `Read`.
     */
    by_type?: {
        [k: string]: number;
    };
}
/**
 * Figures of the agents' own sessions.
 */
export interface SessionMetrics {
    /**
     * Sessions of the window.
     */
    total_sessions: number;
    /**
     * Calls of tools in all of them together.
     */
    total_tools?: number;
    /**
     * Calls of each tool, by its name, for instance `Read`.
     */
    tools_by_type?: {
        [k: string]: number;
    };
}
/**
 * Something that has happened.
 */
export interface ActivityEntry {
    /**
     * What, in one line. Plain text from outside: show it as text, never as markup.
     */
    description: string;
    /**
     * When it happened.
     */
    time: Time;
}
/**
 * How often you now get figures.
 */
export interface MetricsIntervalUpdatedPublication {
    type: "metrics.interval_updated";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: MetricsIntervalUpdatedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The answer to the wish to have figures more often or less often.
 */
export interface MetricsIntervalUpdatedData {
    /**
     * The `id` of the command this answers.
     */
    re?: string;
    /**
     * The shortest time between two updates from now on, in seconds, 1 to 60. A wish outside of that was cut to it.
     */
    interval_seconds: number;
}
/**
 * A task has changed its status.
 */
export interface TaskUpdatePublication {
    type: "task.update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: TaskUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A task was given, has begun, or has changed its status.
 */
export interface TaskUpdateData {
    /**
     * The task.
     */
    task_id: ItemId;
    /**
     * Where it stands.
     */
    status: TaskStatus;
    /**
     * One line about it, for a person to read.
     */
    message?: string;
    /**
     * What the task is to do. Plain text from outside: show it as text, never as markup.
     */
    description?: string;
}
/**
 * A sign of life of a task.
 */
export interface TaskProgressPublication {
    type: "task.progress";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: TaskProgressData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * A sign of life of a task. Nothing is kept of it: who comes later sees the next one.
 */
export interface TaskProgressData {
    /**
     * The task.
     */
    task_id: ItemId;
    /**
     * Where it stands.
     */
    status: TaskStatus;
    /**
     * What is being done, for a person to read.
     */
    message?: string;
    /**
     * How long the task has been worked on, in seconds.
     */
    elapsed_seconds?: number;
    /**
     * How much is done, 0 to 100.
     */
    percent?: number;
}
/**
 * A task has ended well.
 */
export interface TaskCompletePublication {
    type: "task.complete";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: TaskCompleteData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A task has ended well.
 */
export interface TaskCompleteData {
    /**
     * The task.
     */
    task_id: ItemId;
    /**
     * One line about it, for a person to read.
     */
    message?: string;
    /**
     * What came out of it, or the beginning of that. Plain text from outside: show it as text, never as markup.
     */
    result?: string;
}
/**
 * A task has ended badly.
 */
export interface TaskFailedPublication {
    type: "task.failed";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: TaskFailedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A task has ended badly.
 */
export interface TaskFailedData {
    /**
     * The task.
     */
    task_id: ItemId;
    /**
     * What went wrong, or the beginning of that. Plain text from outside: show it as text, never as markup.
     */
    error: string;
    /**
     * One line about it, for a person to read.
     */
    message?: string;
}
/**
 * A person has stopped a task.
 */
export interface TaskStoppedPublication {
    type: "task.stopped";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: TaskStoppedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A person has stopped a task.
 */
export interface TaskStoppedData {
    /**
     * The task.
     */
    task_id: ItemId;
    /**
     * One line about it, for a person to read.
     */
    message?: string;
}
/**
 * A task uses a tool, or has used one.
 */
export interface TaskToolExecutionPublication {
    type: "task.tool_execution";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: TaskToolExecutionData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A task uses a tool, or has used one.
 */
export interface TaskToolExecutionData {
    /**
     * The task.
     */
    task_id: ItemId;
    /**
     * The tool, for instance `Read` or `Bash`.
     */
    tool_name: string;
    /**
     * Whether the tool did what was asked; absent while it is at work.
     */
    success?: boolean;
    /**
     * Where the use stands.
     */
    status?: ToolExecutionStatus;
    /**
     * How long the tool took, in milliseconds; absent while it is at work.
     */
    duration_ms?: number;
    /**
     * What went wrong, when `success` is false.
     */
    error?: string;
    /**
     * The arguments of the call, as the tool defines them.
     */
    parameters?: {
        [k: string]: unknown;
    };
    /**
     * The beginning of what the tool answered. Plain text from outside: show it as text, never as markup.
     */
    output_preview?: string;
}
/**
 * The assistant's answer to a message.
 */
export interface AssistantResponsePublication {
    type: "assistant.response";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AssistantResponseData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The assistant's answer to a message.
 */
export interface AssistantResponseData {
    /**
     * The answer. Plain text from outside: show it as text, never as markup.
     */
    message: string;
    /**
     * What kind of answer it is.
     */
    response_type: ResponseType;
    /**
     * The task that was started, when `response_type` is `task_started`.
     */
    task_id?: ItemId;
    /**
     * How much the answer took.
     */
    tokens?: ResponseTokens;
}
/**
 * How many tokens an answer took.
 */
export interface ResponseTokens {
    /**
     * Tokens that the model read.
     */
    input: number;
    /**
     * Tokens that the model wrote.
     */
    output: number;
}
/**
 * The outcome of a command in the chat.
 */
export interface AssistantCommandResultPublication {
    type: "assistant.command_result";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AssistantCommandResultData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The outcome of a command in the chat, for instance of `/status`.
 */
export interface AssistantCommandResultData {
    /**
     * The outcome, for a person to read. Plain text from outside: show it as text, never as markup.
     */
    message: string;
    /**
     * Whether the command did what was asked.
     */
    success: boolean;
    /**
     * The outcome for programs; free form.
     */
    data?: {
        [k: string]: unknown;
    };
}
/**
 * The chat was emptied.
 */
export interface AssistantClearedPublication {
    type: "assistant.cleared";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: AssistantClearedData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The chat was emptied: show none of its messages any more.
 */
export interface AssistantClearedData {
    /**
     * Why, for a person to read.
     */
    reason?: string;
}
/**
 * A message was added to a context.
 */
export interface ContextNewMessagePublication {
    type: "context.new_message";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ContextNewMessageData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * A message was added to the context.
 */
export interface ContextNewMessageData {
    /**
     * Number of the message; it grows within the context. Ask for what comes after the last one you hold.
     */
    id: number;
    /**
     * Who wrote it.
     */
    sender: UserId;
    /**
     * The text; 100,000 characters at most. Plain text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * Who may see it. You receive it because you may.
     */
    visibility: MessageVisibility;
    /**
     * What kind of agent the sender is, for instance `claude`. Any text.
     */
    sender_type?: string;
    /**
     * What kind of message it is.
     */
    message_type?: MessageType;
    /**
     * Number of the message that this one answers.
     */
    parent_message_id?: number;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * Something about a context has changed.
 */
export interface ContextSessionUpdatePublication {
    type: "context.session_update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ContextSessionUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * Something about the context itself has changed, as it stands now. A newer one replaces an older one. Not sent for every message.
 */
export interface ContextSessionUpdateData {
    /**
     * Who changed it.
     */
    agent_id?: UserId;
    /**
     * How many messages the context has.
     */
    message_count?: number;
}
/**
 * An agent has written into its memory.
 */
export interface ContextMemoryUpdatePublication {
    type: "context.memory_update";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ContextMemoryUpdateData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * An agent has written something into its memory of this context. Everyone in the context is told.
 */
export interface ContextMemoryUpdateData {
    /**
     * The agent.
     */
    agent_id: UserId;
    /**
     * What the value is called; 255 characters at most. The newest value of an agent and a key is the one that counts.
     */
    key: string;
    /**
     * The value, in the agent's own form.
     */
    value: AnyValue;
    /**
     * When the agent first wrote a value of this key.
     */
    created_at?: Time;
}
/**
 * Somebody in a context is writing, or has stopped.
 */
export interface ContextTypingPublication {
    type: "context.typing";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ContextTypingData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
}
/**
 * Somebody is writing a message, or has stopped.
 */
export interface ContextTypingData {
    /**
     * Who.
     */
    agent_id: UserId;
    /**
     * True while they are writing.
     */
    is_typing: boolean;
}
/**
 * Messages of a context that you asked for.
 */
export interface ContextMessagesPublication {
    type: "context.messages";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ContextMessagesData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The answer to the wish for the messages of a context that came after a number: those that the asker may see, oldest first. There may be more than one answer holds; ask again from the last number.
 */
export interface ContextMessagesData {
    /**
     * The `id` of the command this answers.
     */
    re?: string;
    /**
     * The context.
     */
    session_id: SessionId;
    /**
     * The messages.
     */
    messages: StoredMessage[];
    /**
     * The number that was asked from; absent when all messages were asked for.
     */
    since_id?: number;
    /**
     * True when messages that were asked for are no longer kept. Absent when nothing is missing.
     */
    truncated?: boolean;
}
/**
 * A message as it is kept.
 */
export interface StoredMessage {
    /**
     * Number of the message; it grows within the context.
     */
    id: number;
    /**
     * When it was added.
     */
    time: Time;
    /**
     * Who wrote it.
     */
    sender: UserId;
    /**
     * The text; 100,000 characters at most. Plain text from outside: show it as text, never as markup.
     */
    content: string;
    /**
     * Who may see it.
     */
    visibility: MessageVisibility;
    /**
     * What kind of agent the sender is, for instance `claude`. Any text.
     */
    sender_type?: string;
    /**
     * What kind of message it is.
     */
    message_type?: MessageType;
    /**
     * Number of the message that this one answers.
     */
    parent_message_id?: number;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * What there is to know about a context that you asked about.
 */
export interface ContextSessionInfoPublication {
    type: "context.session_info";
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    data: ContextSessionInfoData;
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
/**
 * The answer to the wish to know about a context.
 */
export interface ContextSessionInfoData {
    /**
     * The `id` of the command this answers.
     */
    re?: string;
    /**
     * The context.
     */
    session_id: SessionId;
    /**
     * Whether messages are still added to it.
     */
    is_active: boolean;
    /**
     * What it is for, 1,000 characters at most. Plain text from outside: show it as text, never as markup.
     */
    purpose?: string;
    /**
     * Who made it.
     */
    created_by?: UserId;
    /**
     * When it was made.
     */
    created_at?: Time;
    /**
     * When something about it last changed.
     */
    updated_at?: Time;
    /**
     * Further values; free form.
     */
    metadata?: {
        [k: string]: unknown;
    };
}
/**
 * An event from vendor space: carried as it is, numbered and kept, never read.
 */
export interface VendorPublication {
    /**
     * A type of your own: `_<family>.<name>`, lower snake case.
     */
    type: `_${string}.${string}`;
    /**
     * Whom the event is for; the same for every receiver.
     */
    to: string;
    /**
     * The payload; free form.
     */
    data: {
        [k: string]: unknown;
    };
    /**
     * When it happened; the server's clock when absent.
     */
    time?: Time;
    id?: EventId;
    /**
     * Refuse the event unless the stream's last number is this one.
     */
    expected_prev?: Position;
}
