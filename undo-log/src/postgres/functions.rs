//! Does a read call a function that may write? It may unless every name before a parenthesis is a keyword or a common
//! function of the server's own.
//!
//! What hides a call (a view, an operator, a cast, a default) is not seen here, nor is an own function that bears a name
//! listed below; such reads are refused when they turn out to have written.

use super::analyze::Words;
use crate::sql::Kind;
use std::{collections::HashSet, ops::Range, sync::LazyLock};

static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| BUILTIN.split_ascii_whitespace().collect());
static KEYWORD: LazyLock<HashSet<&str>> = LazyLock::new(|| KEYWORDS.split_ascii_whitespace().collect());

impl Words<'_> {
    /// Is there a call of a function that may write?
    pub(super) fn may_call_writer(&self) -> bool {
        (0..self.tokens.len()).any(|at| self.is_punct(at + 1, b'(') && self.is_unknown(at))
    }

    /// The same of a write to this table, whose name may stand before a parenthesis itself.
    pub(super) fn may_call_writer_beside(&self, table: &Range<usize>) -> bool {
        let target = |at: usize| self.is(at, "CONFLICT") && at > 0 && self.is(at - 1, "ON");
        (0..self.tokens.len()).any(|at| {
            let name = table.contains(&self.tokens[at].span().start) || target(at);
            !name && self.is_punct(at + 1, b'(') && self.is_unknown(at)
        })
    }

    /// A name before a parenthesis.
    fn is_unknown(&self, at: usize) -> bool {
        let quoted = match self.tokens[at].kind {
            Kind::Word => false,
            Kind::Quoted => self.tokens[at].text(self.sql).first() != Some(&b'\''),
            Kind::String | Kind::Number | Kind::Param | Kind::Variable | Kind::Punct => return false,
        };
        let Some(name) = self.name(at) else { return quoted };
        let qualified = at > 0 && self.is_punct(at - 1, b'.');
        let own = qualified && (at < 2 || self.name(at - 2).is_none_or(|schema| schema != "pg_catalog"));
        if own || quoted || qualified {
            return own || !KNOWN.contains(&*name);
        }
        // An alias with names of columns.
        let named = at > 0 && ["AS", "WITH", "RECURSIVE"].iter().any(|word| self.is(at - 1, word));
        !(named || KEYWORD.contains(&*name) || KNOWN.contains(&*name))
    }
}

/// Words of the language that may stand before a parenthesis, and types with a length.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric between bit by case cast char character coalesce \
    collate columns copy cross cube cursor dec decimal declare desc distinct else end except exists explain extract \
    false fetch filter float for from full grouping group greatest having ilike in inner intersect interval into is isnull join \
    json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table \
    json_value lateral least left like limit materialized nchar normalize not notnull null nullif numeric of offset on \
    only or order ordinality over overlaps overlay partition position precision range recursive returning right rollup row \
    rows select set sets similar some substring symmetric table tablesample then time timestamp treat trim true union unique \
    using values varchar varying when where window with within xmlattributes xmlconcat xmlelement xmlexists xmlforest \
    xmlparse xmlpi xmlroot xmlserialize";

/// Functions in `pg_catalog` that change no row of a table.
const BUILTIN: &str = "abs acos acosd acosh age any_value array_agg array_append array_cat array_dims array_fill \
    array_length array_lower array_ndims array_position array_positions array_prepend array_remove array_replace \
    array_reverse array_sort array_to_json array_to_string array_upper ascii asin asind asinh atan atan2 atan2d atand atanh avg \
    bernoulli bit_and bit_count bit_length bit_or bit_xor bool_and bool_or btrim bytea cardinality cbrt ceil ceiling \
    char_length character_length chr clock_timestamp col_description concat concat_ws convert convert_from convert_to corr \
    cos cosd cosh cot cotd count covar_pop covar_samp cume_dist current_database current_query current_schema \
    current_schemas current_setting currval date date_add date_bin date_part date_subtract date_trunc daterange decode \
    degrees dense_rank div encode enum_first enum_last enum_range erf erfc every exp factorial first_value float4 float8 floor \
    format format_type gamma gcd gen_random_uuid generate_series generate_subscripts get_bit get_byte \
    has_any_column_privilege has_column_privilege has_database_privilege has_function_privilege has_schema_privilege \
    has_sequence_privilege has_table_privilege has_type_privilege hashtext host initcap int2 int4 int4range int8 int8range \
    inet_client_addr inet_client_port inet_server_addr inet_server_port isempty isfinite json_agg json_array_elements \
    json_array_elements_text json_array_length json_build_array json_build_object json_each json_each_text json_extract_path \
    json_extract_path_text json_object_agg json_object_keys json_populate_record json_populate_recordset \
    json_strip_nulls json_to_record json_to_recordset json_typeof jsonb_agg jsonb_array_elements jsonb_array_elements_text \
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path \
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists \
    jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_populate_record \
    jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset \
    jsonb_typeof justify_days justify_hours justify_interval lag last_value lastval lcm lead length ln log log10 lower \
    lower_inc lower_inf lpad ltrim make_date make_interval make_time make_timestamp make_timestamptz masklen max md5 min \
    min_scale mod mode money multirange nextval now nth_value ntile num_nonnulls num_nulls numrange obj_description \
    octet_length parse_ident percent_rank percentile_cont percentile_disc pg_advisory_lock pg_advisory_lock_shared \
    pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared pg_advisory_xact_lock \
    pg_advisory_xact_lock_shared pg_backend_pid pg_client_encoding pg_column_size \
    pg_conf_load_time pg_current_snapshot pg_current_wal_lsn pg_current_xact_id_if_assigned pg_database_size \
    pg_encoding_to_char pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_function_identity_arguments \
    pg_get_function_result pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_partkeydef pg_get_ruledef \
    pg_get_serial_sequence pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_indexes_size \
    pg_is_in_recovery pg_is_other_temp_schema pg_my_temp_schema pg_postmaster_start_time pg_relation_size \
    pg_size_pretty pg_sleep pg_sleep_for pg_table_is_visible pg_table_size pg_tablespace_size pg_total_relation_size \
    pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared \
    pg_type_is_visible pg_typeof pi power quote_ident quote_literal quote_nullable radians random range_agg rank \
    regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array \
    regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope repeat replace \
    reverse round row_number row_to_json rpad rtrim scale set_bit set_byte set_config setseed setval sha224 sha256 sha384 sha512 \
    shobj_description sign sin sind sinh split_part sqrt starts_with statement_timestamp stddev stddev_pop stddev_samp \
    string_agg string_to_array string_to_table strpos substr sum system tan tand tanh text timeofday timestamptz \
    timetz to_char to_date to_hex to_json to_jsonb to_number to_regclass to_regtype to_timestamp to_tsquery to_tsvector \
    transaction_timestamp translate trim_array trim_scale trunc ts_headline ts_rank ts_rank_cd tsrange tstzrange \
    txid_current_if_assigned txid_current_snapshot unistr unnest upper upper_inc upper_inf uuidv4 uuidv7 var_pop var_samp \
    variance version websearch_to_tsquery width_bucket xmlagg";
