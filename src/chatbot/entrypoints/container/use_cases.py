"""The use cases, as routes and commands get them."""

from dataclasses import dataclass

from chatbot.application.api_keys import ApiKeys
from chatbot.application.audit_keeper import AuditKeeper
from chatbot.application.audit_trail import AuditTrail
from chatbot.application.auditing import Auditing
from chatbot.application.authentication import Authentication
from chatbot.application.chat import Chat
from chatbot.application.consolidation import Consolidation
from chatbot.application.data_export import DataExport
from chatbot.application.document_check import DocumentCheck
from chatbot.application.document_search import DocumentSearch
from chatbot.application.document_uploads import DocumentUploads
from chatbot.application.documents import DocumentLibrary
from chatbot.application.end_users import EndUsers
from chatbot.application.erasure import Erasures
from chatbot.application.explanation import Explanations
from chatbot.application.file_ingestion import FileIngestion
from chatbot.application.ingestion import Ingestion
from chatbot.application.key_identification import KeyIdentification
from chatbot.application.key_use import KeyUse
from chatbot.application.limits import LimitEditor
from chatbot.application.memory import MemoryEditor
from chatbot.application.memory_search import MemorySearch
from chatbot.application.memory_steps import MemorySteps
from chatbot.application.monitoring import Monitoring
from chatbot.application.oversight import Oversight
from chatbot.application.own_erasure import OwnErasure
from chatbot.application.own_password import OwnPassword
from chatbot.application.people import People
from chatbot.application.person_memory import OwnMemory
from chatbot.application.refusals import Refusals
from chatbot.application.reindexing import Reindexing
from chatbot.application.request_limits import RequestLimits
from chatbot.application.retention import Retention
from chatbot.application.roles import RoleEditor
from chatbot.application.sessions import Sessions
from chatbot.application.token_pairs import TokenPairs
from chatbot.application.usage import UsageReports
from chatbot.application.user_passwords import UserPasswords
from chatbot.application.vector_reindexing import VectorReindexing
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.security import IdentifyClient, PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import Telemetry
from chatbot.entrypoints.container.embeddings import Embeddings
from chatbot.entrypoints.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What routes and commands call, and the parts that `lifecycle` opens and closes."""

    settings: Settings
    identify_client: IdentifyClient
    key_identification: KeyIdentification
    api_keys: ApiKeys
    key_use: KeyUse
    end_users: EndUsers
    auditing: Auditing
    erasures: Erasures
    audit_trail: AuditTrail
    audit_keeper: AuditKeeper
    refusals: Refusals
    oversight: Oversight
    retention: Retention
    own_erasure: OwnErasure
    data_export: DataExport
    authentication: Authentication
    token_pairs: TokenPairs
    request_limits: RequestLimits
    limits: LimitEditor
    usage: UsageReports
    people: People
    user_passwords: UserPasswords
    own_password: OwnPassword
    roles: RoleEditor
    chat: Chat
    sessions: Sessions
    explanations: Explanations
    documents: DocumentLibrary
    document_uploads: DocumentUploads
    document_search: DocumentSearch
    document_check: DocumentCheck
    ingestion: Ingestion
    memory_editor: MemoryEditor
    own_memory: OwnMemory
    memory_search: MemorySearch
    consolidation: Consolidation
    memory_steps: MemorySteps
    search: Search
    embeddings: Embeddings
    storage: Storage
    model: ChatModel
    hasher: PasswordHasher
    monitoring: Monitoring
    telemetry: Telemetry
    genkit_model: ChatModel | None
    """The model without its wrappers, for Genkit's flows; None if a model was passed to `build`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """What the commands that read and change the store call."""

    people: People
    user_passwords: UserPasswords
    roles: RoleEditor
    api_keys: ApiKeys
    audit_trail: AuditTrail
    operations_trail: AuditTrail
    document_check: DocumentCheck
    reindexing: Reindexing
    vectors: VectorReindexing
    files: FileIngestion
    retention: Retention
    limits: LimitEditor
    usage: UsageReports
