//! The state that all requests share.

use super::body::BodyLimits;
use super::fault::Fault;
use super::metrics::Metrics;
use super::model::{Load, ServedModel};
use super::recent::Recent;
use super::settings::Settings;
use super::streams::Streams;
use super::tls::Tls;
use crate::score::CALIBRATION;
use crate::{Error, Result};
use axum::http::StatusCode;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};

pub struct Server {
    pub settings: Settings,
    pub metrics: Arc<Metrics>,
    pub streams: Streams,
    pub recent: Recent,
    pub tls: Option<Tls>,
    /// Set while the server stops.
    pub stopping: watch::Sender<bool>,
    load: Load,
    /// None until it is loaded.
    model: RwLock<Option<Arc<ServedModel>>>,
    places: Arc<Semaphore>,
    /// Held by who loads a model, also after the client that asked for it has left.
    loading: Arc<Mutex<()>>,
}

impl Server {
    pub fn new(settings: Settings, tls: Option<Tls>, load: Load) -> Self {
        Server {
            streams: Streams::new(settings.max_streams, settings.stream_idle),
            recent: Recent::default(),
            places: Arc::new(Semaphore::new(settings.max_requests)),
            metrics: Arc::new(Metrics::new()),
            tls,
            stopping: watch::channel(false).0,
            load,
            model: RwLock::new(None),
            loading: Arc::new(Mutex::new(())),
            settings,
        }
    }

    /// Loads the model, and the certificate, and puts them in the place of those before. Requests that are under way keep theirs.
    ///
    /// Errors: what cannot be read; then everything stays as it was.
    pub async fn load(self: &Arc<Self>) -> Result<()> {
        let alone = self.loading.clone().lock_owned().await;
        let server = self.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            server.load_now()
        });
        loaded.await.unwrap_or_else(|panic| Err(Error::failed(format!("loading the model: {panic}"))))
    }

    fn load_now(&self) -> Result<()> {
        let parts = (self.load)()?;
        let before = self.model.read().unwrap_or_else(PoisonError::into_inner).clone();
        if before.is_some_and(|model| model.is_calibrated()) && parts.detector.normal().is_none() {
            return Err(Error::failed(format!(
                "{CALIBRATION} is gone, and without it nothing is an anomaly; calibrate again, or restart the server to serve without it"
            )));
        }
        // Before the model is put in place, so that nothing changes if it fails.
        self.tls.as_ref().map_or(Ok(()), Tls::reload)?;
        let model = ServedModel::start(parts, self.settings.limits, self.metrics.clone());
        self.metrics.loaded(model.loaded_at);
        *self.model.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(model));
        Ok(())
    }

    /// Errors: none is loaded yet.
    pub fn model(&self) -> std::result::Result<Arc<ServedModel>, Fault> {
        let model = self.model.read().unwrap_or_else(PoisonError::into_inner).clone();
        model.ok_or_else(|| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the model is being loaded"))
    }

    /// A place among the requests that are computed at once.
    ///
    /// Errors: all are taken.
    pub fn place(&self) -> std::result::Result<OwnedSemaphorePermit, Fault> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("{} requests are being computed (--max-requests); ask again", self.settings.max_requests),
            )
        })
    }

    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits { bytes: self.settings.max_body_bytes, idle: self.settings.timeout, stop: self.stopping.subscribe() }
    }

    /// What Prometheus reads.
    pub fn metrics_text(&self) -> String {
        let taken = self.settings.max_requests - self.places.available_permits();
        self.metrics.active_requests.set(taken as i64);
        self.metrics.drift.set(self.streams.drifting() as i64);
        self.metrics.render()
    }
}
