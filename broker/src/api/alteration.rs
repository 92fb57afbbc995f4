//! Changing settings, for both config APIs: checked against the knob table, on the controller's core, so that an append
//! or subtraction sees what is set when it is carried out.

use std::rc::Rc;

use millstream_protocol::error::ErrorCode;
use millstream_protocol::messages::alter_configs::AlterConfigsResourceResponse;
use millstream_state::controller::{Command, ConfigChange, Refusal, Reply as Answer, Resource};

use crate::api::{RequestContext, configs, errors};
use crate::controller;
use crate::knobs::alter::{self, Operation};
use crate::knobs::layers::Overrides;
use crate::security;
use crate::shard::{CONTROLLER, Shard};

/// What a request wants of one resource.
pub(crate) struct Wanted {
    /// Resource type on the wire.
    pub(crate) code: i8,
    pub(crate) name: String,
    pub(crate) how: How,
}

/// All settings at once, or step by step.
pub(crate) enum How {
    Replace(Vec<(String, Option<String>)>),
    Steps(Vec<Step>),
}

/// One step of IncrementalAlterConfigs.
pub(crate) struct Step {
    pub(crate) name: String,
    /// As on the wire.
    pub(crate) operation: i8,
    pub(crate) value: Option<String>,
}

type Outcome = (ErrorCode, Option<String>);

/// What is told of one resource.
pub(crate) fn row(
    resource_type: i8,
    resource_name: &str,
    (code, message): Outcome,
) -> AlterConfigsResourceResponse<'_> {
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: message.map(Into::into),
        resource_type,
        resource_name: resource_name.into(),
    }
}

/// Carries out all changes; one outcome for each, in order.
pub(crate) async fn carry_out(
    context: &RequestContext,
    wanted: Vec<Wanted>,
    validate_only: bool,
) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(wanted.len());
    let mut accepted = Vec::new();
    for wanted in wanted {
        let named = match wanted.code {
            configs::BROKER_LOGGER => Err((
                ErrorCode::InvalidRequest,
                "Log levels cannot be changed while the broker runs.".to_owned(),
            )),
            code => configs::named(context, code, &wanted.name),
        };
        let allowed = named.and_then(|resource| {
            let denied = context
                .authorize(
                    security::Operation::AlterConfigs,
                    security::of_config(&resource),
                )
                .err();
            denied.map_or(Ok(resource), |code| Err((code, code.message().to_owned())))
        });
        match allowed {
            Ok(resource) => {
                accepted.push((outcomes.len(), resource, wanted.how));
                outcomes.push(None);
            }
            Err((code, message)) => outcomes.push(Some((code, Some(message)))),
        }
    }
    let places: Vec<usize> = accepted.iter().map(|(place, _, _)| *place).collect();
    let changes = accepted
        .into_iter()
        .map(|(_, resource, how)| (resource, how))
        .collect();
    let results = context
        .shard
        .on(CONTROLLER, move |there| async move {
            alter(&there, changes, validate_only).await
        })
        .await;
    for (place, outcome) in places.into_iter().zip(results) {
        outcomes[place] = Some(outcome);
    }
    let missing = || (ErrorCode::UnknownServerError, None);
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(missing))
        .collect()
}

/// On the controller's core: checks each change against what is set now, and has the good ones stored.
async fn alter(
    shard: &Rc<Shard>,
    wanted: Vec<(Resource, How)>,
    validate_only: bool,
) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(wanted.len());
    let mut changes = Vec::new();
    for (resource, how) in wanted {
        match check(shard, &resource, how) {
            Ok(after) => {
                let entries = after
                    .into_iter()
                    .map(|(key, value)| (key, Some(value)))
                    .collect();
                changes.push(ConfigChange {
                    resource,
                    replace: true,
                    entries,
                });
                outcomes.push((ErrorCode::None, None));
            }
            Err(refusal) => outcomes.push(outcome(refusal)),
        }
    }
    let answer = controller::command(
        shard,
        Command::AlterConfigs {
            changes,
            validate_only,
        },
    )
    .await;
    let mut results = match answer {
        Ok(Answer::AlteredConfigs(rows)) => Ok(rows.into_iter()),
        Ok(_) => unreachable!("a command has its own reply"),
        Err(refusal) => Err(refusal),
    };
    for row in outcomes.iter_mut().filter(|row| row.0 == ErrorCode::None) {
        let result = match &mut results {
            Ok(rows) => rows.next().map_or(Ok(()), |row| row.result),
            Err(refusal) => Err(refusal.clone()),
        };
        if let Err(refusal) = result {
            *row = outcome(refusal);
        }
    }
    outcomes
}

/// All settings of the resource after the change.
fn check(shard: &Shard, resource: &Resource, how: How) -> Result<Overrides, Refusal> {
    let layers = shard.layers();
    let of = configs::knob_resource(resource);
    let after = match &how {
        How::Replace(values) => {
            let values: Vec<(&str, Option<&str>)> = values
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            alter::replace(of, &layers, &values)
        }
        How::Steps(steps) => {
            let mut known = Vec::with_capacity(steps.len());
            for step in steps {
                let Some(operation) = Operation::from_code(step.operation) else {
                    return Err(Refusal {
                        error: ErrorCode::InvalidRequest,
                        message: Some(format!("Unknown operation type {}.", step.operation)),
                    });
                };
                known.push(alter::Step {
                    name: &step.name,
                    operation,
                    value: step.value.as_deref(),
                });
            }
            alter::incremental(
                of,
                &layers,
                &configs::present(&shard.image(), resource),
                &known,
            )
        }
    };
    after.map_err(errors::of_config)
}

fn outcome(refusal: Refusal) -> Outcome {
    (refusal.error, Some(refusal.text()))
}
