"""Builds the parts that store, extract and read documents."""

from chatbot.adapters.search.preparing import prepared_apart
from chatbot.application.auditing import Auditing
from chatbot.application.document_check import DocumentCheck
from chatbot.application.document_quotas import DocumentQuotas
from chatbot.application.document_uploads import DocumentUploads
from chatbot.application.documents import DocumentLibrary
from chatbot.application.file_ingestion import FileIngestion
from chatbot.application.ingestion import Ingestion
from chatbot.domain.ports.extraction import Extractor
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.entrypoints.container.embeddings import Embeddings
from chatbot.entrypoints.container.extraction_parts import build_extractor
from chatbot.entrypoints.container.parts import random_id, utc_now
from chatbot.entrypoints.settings import Settings


def build_ingestion(
    settings: Settings,
    storage: Storage,
    extractor: Extractor,
    embeddings: Embeddings,
    telemetry: Telemetry,
) -> Ingestion:
    return Ingestion(
        storage,
        extractor,
        prepared_apart,
        workers=settings.documents.workers,
        clock=utc_now,
        new_id=random_id,
        vectors=embeddings.documents,
        telemetry=telemetry,
    )


def build_document_uploads(
    settings: Settings,
    storage: Storage,
    auditing: Auditing,
    extractor: Extractor,
    ingestion: Ingestion,
) -> DocumentUploads:
    quotas = DocumentQuotas(
        storage,
        per_uploader=settings.documents.max_per_user,
        total_bytes=settings.documents.max_bytes_total,
        clock=utc_now,
    )
    return DocumentUploads(
        storage,
        auditing,
        extractor,
        quotas,
        shared_by_managers=settings.documents.sharing == "managers",
        changed=ingestion.wake,
        clock=utc_now,
        new_id=random_id,
    )


def build_documents(settings: Settings, storage: Storage, auditing: Auditing) -> DocumentLibrary:
    return DocumentLibrary(
        storage,
        auditing,
        shared_by_managers=settings.documents.sharing == "managers",
        clock=utc_now,
    )


def build_document_repair(storage: Storage) -> DocumentCheck:
    """For processes without a queue worker: the service processes the queue."""
    return DocumentCheck(storage, prepared_apart, clock=utc_now, wake=lambda: None)


def build_document_check(storage: Storage, ingestion: Ingestion) -> DocumentCheck:
    return DocumentCheck(storage, prepared_apart, clock=utc_now, wake=ingestion.wake)


def build_file_ingestion(
    settings: Settings, storage: Storage, auditing: Auditing, embeddings: Embeddings
) -> FileIngestion:
    """For commands, which work on the queue only while they wait for their own files."""
    extractor = build_extractor(settings)
    ingestion = build_ingestion(settings, storage, extractor, embeddings, NO_TELEMETRY)
    return FileIngestion(
        storage,
        build_documents(settings, storage, auditing),
        build_document_uploads(settings, storage, auditing, extractor, ingestion),
        ingestion,
        extractor,
        max_bytes=settings.documents.max_bytes,
    )
