//! Deleting objects singly and in bulk.

use super::super::{Condition, NotDeleted, StoreError, StoreErrorKind};
use super::S3;
use super::call::Request;
use super::objects::write_condition;
use super::xml::{self, Xml, once, required};
use crate::model::RequestKind;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use md5::{Digest as _, Md5};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

impl S3 {
    /// Most objects that one request can delete.
    pub const MOST_DELETED: usize = 1000;

    /// Deletes an object; a missing one counts as deleted.
    ///
    /// # Errors
    /// `PreconditionFailed` if the object is not the expected one.
    pub fn delete(&self, key: &[u8], condition: Condition<'_>) -> Result<(), StoreError> {
        let mut request = Request::new(self, RequestKind::Delete, Method::DELETE, Some(key), &[])?;
        write_condition(condition, &mut request)?;
        match self.call(&request, |_| Ok(())) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Deletes up to [`S3::MOST_DELETED`] objects and returns those that could not be deleted. Keys
    /// that the request can't contain (control characters) are deleted singly, and so are all keys
    /// if the store doesn't support bulk deletes.
    ///
    /// # Errors
    /// Fails if the whole request fails; any of the objects may have been deleted.
    pub fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<NotDeleted>, StoreError> {
        let mut document = String::from("<Delete><Quiet>true</Quiet>");
        let (mut sent, mut singly) = (HashSet::new(), Vec::new());
        let bulk = !self.shared.deletes_singly.load(Ordering::Relaxed);
        for &key in keys {
            let start = document.len();
            document.push_str("<Object><Key>");
            if bulk && !key.is_empty() && xml::escape(key, &mut document) {
                document.push_str("</Key></Object>");
                sent.insert(key);
            } else {
                document.truncate(start);
                singly.push(key);
            }
        }
        document.push_str("</Delete>");

        let mut failed = Vec::new();
        if !sent.is_empty() {
            match self.delete_document(document, &sent) {
                Ok(refused) => {
                    for (key, error) in refused {
                        match error.kind {
                            StoreErrorKind::NotFound => {}
                            // Retried singly.
                            StoreErrorKind::Throttled | StoreErrorKind::Unavailable => {
                                singly.extend(sent.get(&*key));
                            }
                            _ => failed.push((key, error)),
                        }
                    }
                }
                Err(error) if error.kind == StoreErrorKind::Unsupported => {
                    self.shared.deletes_singly.store(true, Ordering::Relaxed);
                    singly.extend(sent);
                }
                Err(error) => return Err(error),
            }
        }
        for key in singly {
            match self.delete(key, Condition::None) {
                Ok(()) => {}
                Err(error) if error.kind == StoreErrorKind::Interrupted => return Err(error),
                Err(error) => failed.push((key.into(), error)),
            }
        }
        Ok(failed)
    }

    fn delete_document(
        &self,
        document: String,
        sent: &HashSet<&[u8]>,
    ) -> Result<Vec<NotDeleted>, StoreError> {
        let mut request =
            Request::new(self, RequestKind::DeleteMany, Method::POST, None, &[("delete", b"")])?;
        // S3 required this from the beginning, and some stores still do.
        request.header("content-md5", &BASE64_STANDARD.encode(Md5::digest(document.as_bytes())))?;
        request.header("content-type", "application/xml")?;
        request.document(Bytes::from(document));
        self.call(&request, |reply| {
            reply.document()?;
            // The document may be empty, so its name has to identify it.
            let mut xml = Xml::expect(&reply.body, "DeleteResult")?;
            let mut failed = Vec::new();
            while let Some(name) = xml.child()? {
                match name.as_str() {
                    "Error" => failed.push(read_failure(&mut xml)?),
                    _ => xml.skip()?,
                }
            }
            xml.end()?;
            if failed.iter().any(|(key, _)| !sent.contains(&**key)) {
                return Err(StoreError::bad_reply("it names keys that were not requested"));
            }
            Ok(failed)
        })
    }
}

fn read_failure(xml: &mut Xml<'_>) -> Result<NotDeleted, StoreError> {
    let (mut key, mut code, mut message) = (None, None, None);
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "Key" => once(&mut key, xml.text()?, "Key")?,
            "Code" => once(&mut code, xml.text()?, "Code")?,
            "Message" => once(&mut message, xml.text()?, "Message")?,
            _ => xml.skip()?,
        }
    }
    let key = required(key, "Key")?.into_bytes().into_boxed_slice();
    let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
    let kind = super::reply::kind(200, &code, None, true);
    Ok((key, StoreError::new(kind).replied(None, &code, &message)))
}
